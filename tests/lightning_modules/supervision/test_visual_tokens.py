import pytest
import torch
from safetensors.torch import save_file

from lightning_modules.supervision.visual_tokens import CodebookFile, KMeansTokens, ScriptedEncoder
from visionscapes.errors import UserError


def pictures(count=6, side=16, seed=0):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def learned(seen=None, **more):
    tokens = KMeansTokens(**{"patch_size": 4, "vocabulary": 8, "batches": 4, "samples": 200} | more)
    tokens.learn([pictures(seed=seed) for seed in range(4)] if seen is None else seen)
    return tokens


@pytest.mark.parametrize("normalised", [True, False])
def test_a_patch_gets_the_nearest_centre(normalised):
    tokens, images = learned(normalise_patches=normalised), pictures(seed=9)
    ids = tokens(images, (4, 4))
    assert ids.shape == (6, 4, 4)
    assert ids.dtype == torch.int64
    for b in range(6):
        for row in range(4):
            for column in range(4):
                patch = images[b, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].permute(1, 2, 0).flatten()
                if normalised:
                    patch = (patch - patch.mean()) / (patch.var() + 1e-6).sqrt()
                wanted = (tokens.centres - patch).square().sum(1).argmin()
                assert ids[b, row, column] == wanted


def test_ids_are_in_range_and_told_apart():
    ids = learned()(pictures(40, seed=3), (4, 4))
    assert ids.min() >= 0
    assert ids.max() < 8
    assert len(ids.unique()) > 4


def test_half_precision_changes_no_id():
    tokens, images = learned(), pictures(40, seed=3)
    with torch.autocast("cpu", torch.bfloat16):
        half = tokens(images, (4, 4))
    assert torch.equal(half, tokens(images, (4, 4)))


def test_many_patches_are_as_few():
    tokens, images = learned(), pictures(300, seed=4)  # 4800 patches: more than are compared at once
    assert torch.equal(tokens(images, (4, 4)), torch.cat([tokens(image[None], (4, 4)) for image in images]))


def test_equal_pictures_and_seeds_learn_equal_centres():
    torch.manual_seed(1)
    first = learned()
    torch.manual_seed(2)
    assert torch.equal(learned().centres, first.centres)
    assert not torch.equal(learned(seed=1).centres, first.centres)
    assert not torch.equal(learned([pictures(20, seed=7)]).centres, first.centres)


def test_centres_are_those_of_the_patches():
    """Four colours, four centres: each the patch itself."""
    colours = torch.tensor([[0.1, 0.2, 0.3], [0.9, 0.1, 0.1], [0.2, 0.8, 0.3], [0.5, 0.5, 0.9]])
    order = torch.randint(4, (12, 4, 4), generator=torch.Generator().manual_seed(0))
    images = colours[order].permute(0, 3, 1, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)
    tokens = learned([images], vocabulary=4, normalise_patches=False)
    found = {tuple(centre[:3].round(decimals=4).tolist()) for centre in tokens.centres}
    assert found == {tuple(colour.tolist()) for colour in colours.round(decimals=4)}
    ids = tokens(images, (4, 4))
    assert torch.equal(ids[:, :, :, None, None, None] == ids, order[:, :, :, None, None, None] == order)


def test_no_more_pictures_are_drawn_than_asked_for():
    drawn = []

    def endless():
        while True:
            drawn.append(1)
            yield pictures(seed=len(drawn))

    learned(endless(), batches=3)
    assert len(drawn) == 3


def test_a_state_dict_brings_the_centres_along():
    tokens, again = learned(), KMeansTokens(4, 8, samples=60)
    assert not again.learned
    again.load_state_dict(tokens.state_dict())
    assert again.learned
    assert torch.equal(again(pictures(), (4, 4)), tokens(pictures(), (4, 4)))


@pytest.mark.parametrize("kind", ["safetensors", "checkpoint"])
def test_a_file_of_centres(kind, tmp_path):
    tokens, path = learned(), tmp_path / ("codebook.safetensors" if kind == "safetensors" else "last.ckpt")
    if kind == "safetensors":
        save_file({"centres": tokens.centres}, path)
    else:
        named = {f"tokenizer.{name}": value for name, value in tokens.state_dict().items()}
        torch.save({"state_dict": {"head.weight": torch.ones(2, 2)} | named}, path)
    read = CodebookFile(str(path))
    assert read.learned
    assert (read.patch_size, read.vocabulary) == (4, 8)
    assert torch.equal(read(pictures(), (4, 4)), tokens(pictures(), (4, 4)))


def test_files_that_hold_no_centres(tmp_path):
    save_file({"centres": torch.ones(4, 7)}, tmp_path / "odd.safetensors")
    save_file({"weight": torch.ones(4, 48)}, tmp_path / "other.safetensors")
    for name in ("odd", "other"):
        with pytest.raises(UserError, match="holds no 'centres'"):
            CodebookFile(str(tmp_path / f"{name}.safetensors"))
    with pytest.raises(UserError, match="no weights at"):
        CodebookFile(str(tmp_path / "none.safetensors"))


def test_what_cannot_be_learned():
    with pytest.raises(UserError, match="raise samples"):
        KMeansTokens(4, vocabulary=100, samples=50)
    with pytest.raises(UserError, match="at least 2"):
        KMeansTokens(4, vocabulary=1)
    with pytest.raises(UserError, match="16 patches cannot give 20"):
        learned([pictures(1)], vocabulary=20)
    with pytest.raises(UserError, match="0 patches"):
        learned([])


def test_a_grid_of_other_patches():
    with pytest.raises(UserError, match="do not fit a grid of 2x2"):
        learned()(pictures(), (2, 2))


class TinyEncoder(torch.nn.Module):
    """Logits of 5 tokens on a grid of 8 pixels, as DALL-E's has 8192."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 5, 8, 8)

    def forward(self, x):
        return self.layer(x)


@pytest.fixture
def scripted(tmp_path):
    torch.manual_seed(0)
    encoder = TinyEncoder().eval()
    torch.jit.script(encoder).save(str(tmp_path / "encoder.ts"))
    return encoder, str(tmp_path / "encoder.ts")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_an_encoder_in_a_file(scripted):
    encoder, path = scripted
    tokens, images = ScriptedEncoder(path, image_size=32, vocabulary=5), pictures(3, 32)
    ids = tokens(images, (4, 4))
    assert torch.equal(ids, encoder(0.8 * images + 0.1).argmax(1))
    assert len(ids.unique()) > 1
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tokens(images, (4, 4)), ids)
    assert tokens.learned
    assert not tokens.state_dict(), "checkpoints do not hold it"


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_an_encoder_in_a_file_goes_where_the_module_goes(scripted):
    whole = torch.nn.ModuleList([ScriptedEncoder(scripted[1], image_size=32, vocabulary=5)]).double()
    assert {weight.dtype for weight in whole[0]._encoder.network.parameters()} == {torch.float64}


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_the_encoder_sees_another_size_than_the_vit(scripted):
    encoder, path = scripted
    tokens = ScriptedEncoder(path, image_size=16, vocabulary=5, margin=0.0)
    colours = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    flat = torch.nn.functional.interpolate(colours[..., :1, :1], size=(64, 64))
    assert torch.equal(tokens(flat, (2, 2)), encoder(flat[..., :16, :16]).argmax(1))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_encoders_that_do_not_fit(scripted, tmp_path):
    _, path = scripted
    with pytest.raises(UserError, match=r"\(5, 4, 4\) for 32x32 pixels .* \(5, 2, 2\)"):
        ScriptedEncoder(path, image_size=32, vocabulary=5)(pictures(1, 32), (2, 2))
    with pytest.raises(UserError, match="change the tokenizer"):
        ScriptedEncoder(path, image_size=32, vocabulary=8192)(pictures(1, 32), (4, 4))
    with pytest.raises(UserError, match="no visual tokenizer at"):
        ScriptedEncoder(str(tmp_path / "none.ts"))
    (tmp_path / "text.ts").write_text("text")
    with pytest.raises(UserError, match="cannot be read as TorchScript"):
        ScriptedEncoder(str(tmp_path / "text.ts"))
