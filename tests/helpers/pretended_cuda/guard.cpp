// Autograd asks for the stream of the device; without a driver the real guard aborts.
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
using namespace c10;
struct Pretended final : public impl::DeviceGuardImplInterface {
  static Device here() { return Device(DeviceType::CUDA, 0); }
  DeviceType type() const override { return DeviceType::CUDA; }
  Device exchangeDevice(Device) const override { return here(); }
  Device getDevice() const override { return here(); }
  void setDevice(Device) const override {}
  void uncheckedSetDevice(Device) const noexcept override {}
  Stream getStream(Device) const override { return Stream(Stream::DEFAULT, here()); }
  Stream getDefaultStream(Device) const override { return Stream(Stream::DEFAULT, here()); }
  Stream getNewStream(Device, int) const override { return Stream(Stream::DEFAULT, here()); }
  Stream exchangeStream(Stream) const override { return Stream(Stream::DEFAULT, here()); }
  DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const Stream&, const DeviceIndex, const EventFlag) const override {}
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const DeviceIndex) const noexcept override {}
  bool queryStream(const Stream&) const override { return true; }
  void synchronizeStream(const Stream&) const override {}
};
struct Hooks final : public at::CUDAHooksInterface {
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  bool hasCUDA() const override { return true; }
  DeviceIndex current_device() const override { return 0; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  DeviceIndex deviceCount() const override { return 1; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  void init() const override {}
  long versionCuDNN() const override { return 0; }
  long versionRuntimeCuDNN() const override { return 0; }
};
extern "C" void pretend() {
  static Pretended guard;
  static Hooks hooks({});
  const void* real = &at::detail::getCUDAHooks();
  *reinterpret_cast<void**>(const_cast<void*>(real)) = *reinterpret_cast<void**>(&hooks);  // its methods, no state
  impl::device_guard_impl_registry[static_cast<size_t>(DeviceType::CUDA)].store(&guard);
}
