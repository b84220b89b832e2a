# Both first commands of README.md in a container, on a processor or on NVIDIA's GPUs:
#   docker build -t visionscapes .
#   docker run --rm --ipc=host visionscapes                                   # make fit
#   docker run --rm --ipc=host visionscapes make test
#   docker run --rm --ipc=host --gpus=all -v /data:/data -e DATA_ROOT=/data -v "$PWD/runs:/visionscapes/runs" visionscapes \
#     .venv/bin/python cli.py fit --config configs/paper/lift.yaml --config configs/hardware/gpu.yaml
FROM python:3.11-slim-bookworm
# make starts everything, git tells the commit in manifests, the others are what OpenCV links to.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git libgl1 libglib2.0-0 make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /visionscapes
COPY . .
ENV PIP_NO_CACHE_DIR=1
RUN make setup
ENV PATH="/visionscapes/.venv/bin:$PATH"
CMD ["make", "fit"]
