"""What the parser says, as it says it."""

from command_line.errors.complaints import read

DEEP = """\
Parser key "model":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'pytorch_lightning.core.module.LightningModule'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'lightning_modules.LiFT':
        Parser key "backbone":
          Problem with given class_path 'networks.ViTFeatures':
            Parser key "model_args":
              Does not validate against any of the Union subtypes
              Subtypes: [dict[str, typing.Any], <class 'NoneType'>]
              Errors:
                - Expected a <class 'dict'>
                - Expected a <class 'NoneType'>
              Given value type: <class 'str'>
              Given value: 5
    - Expected a <class 'NoneType'>
  Given value type: <class 'jsonargparse._util.NestedArg'>
  Given value: NestedArg(key='backbone.init_args.model_args', val='5')"""
LIST = """\
Parser key "trainer.callbacks":

  - Expected a path but [5] either not accessible or invalid
  - Does not validate against any of the Union subtypes
  Subtypes: [list[pytorch_lightning.callbacks.callback.Callback], <class 'NoneType'>]
  Errors:
    - Not a valid subclass of Callback. Got value: 5
      Subclass types expect one of:
      - a class path (str)
    - Expected a <class 'NoneType'>
  Given value type: <class 'list'>
  Given value: [5]"""
FALLBACK = """\
Parser key "trainer.callbacks":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'pytorch_lightning.callbacks.callback.Callback'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'pytorch_lightning.Callback':
        Option 'image_sizes' is not accepted
    - Problem with given class_path 'callbacks.Complexity':
        Parser key "image_sizes":
          Expected a <class 'list'>. Got value: abc
  Given value type: <class 'list'>
  Given value: [{}]"""


def test_the_option_has_its_full_name():
    found = read(DEEP)
    assert found.option == "model.backbone.model_args"
    assert found.class_path == "networks.ViTFeatures"
    assert found.reasons == ("Expected a <class 'dict'>", "Expected a <class 'NoneType'>")
    assert found.value == "5"


def test_the_element_of_a_list_is_the_value():
    found = read(LIST)
    assert found.option == "trainer.callbacks"
    assert found.reasons[0] == "Not a valid subclass of Callback"
    assert found.value == "5"


def test_the_class_that_was_named_comes_before_its_base():
    found = read(FALLBACK)
    assert (found.option, found.class_path, found.value) == (
        "trainer.callbacks.image_sizes",
        "callbacks.Complexity",
        "abc",
    )


def test_a_value_that_is_empty():
    assert read("Parser key \"model.lr\":\n  Expected a <class 'float'>. Got value: ").value == ""


def test_what_is_no_complaint_is_its_own_reason():
    assert read("something else").reasons == ("something else",)
