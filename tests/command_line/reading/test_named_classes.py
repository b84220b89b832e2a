import sys

from command_line.reading.named_classes import class_paths_in, import_named_classes


def test_classes_named_without_their_package_are_imported(tmp_path):
    config = tmp_path / "own.yaml"
    config.write_text("model: LiFT\ntrainer:\n  callbacks:\n    - class_path: ResultTable\n")
    import_named_classes(["fit", f"--config={config}", "--data=SceneWorld"])
    for module in ["lightning_modules.lift.module", "callbacks.results", "datamodules.dense.scene_world"]:
        assert module in sys.modules


def test_class_paths_of_words_and_of_the_users_files(tmp_path):
    config = tmp_path / "own.yaml"
    config.write_text("data:\n  class_path: my_data.Folder\n  init_args:\n    root: some/path.Txt\n")
    found = class_paths_in(
        ["fit", "--model", "my_package.nets.Model", "--config", str(config), "--config=configs/lift.yaml"]
    )
    assert found == ["my_data.Folder", "my_package.nets.Model"]
