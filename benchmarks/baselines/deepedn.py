"""A generative network that learns to make noise of images, and another that undoes it.

After Y. Ding et al.: DeepEDN, a Deep-Learning-Based Image Encryption and Decryption Network for Internet of Medical
Things. IEEE Internet of Things Journal 8, 2021, arXiv 2004.05523. A generator G of a Cycle-GAN (J.-Y. Zhu et al., arXiv
1703.10593) takes a plain image into a hidden domain, a discriminator tells what it makes from true samples of that
domain, and a second generator F restores the image. The weights are the key.

What that means: training makes one key, in minutes. There is no key schedule and no nonce, every image is encrypted by
the same weights, and a site that wants a second key trains again. The `key` and `nonce` of a call are ignored; another
key is another network, and the nearest key is one with the last bit of one weight flipped.

Departures: a quarter of a Cycle-GAN's channels, three residual blocks instead of nine, minutes of training on all kinds
of medical images; no normalization, because it forgets how bright an image is; the hidden domain is uniform noise; G is
trained through a rounding to 8 bits, because its output is stored in them; the discriminator joins after a warm-up; no
mining of regions of interest.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from hashlib import sha256
from json import dumps
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.baselines.generator import Recipe, initialize, make_discriminator, make_generator
from benchmarks.baselines.scheme import Image

RESULTS = Path(__file__).resolve().parent.parent / "results"
_PARTS = ("encryptor", "decryptor")
_STRIDE = 4  # G and F halve the image twice


@dataclass(frozen=True, slots=True)
class Losses:
    """Of one step: of the discriminator, of G against it, and the mean absolute error of F(G(x)) in [-1, 1] samples."""

    discriminator: float
    adversarial: float
    restoration: float


class Trainer:
    """The three networks and their optimizers.

    Parameters
    ----------
    images
        uint8 (rows, columns), each at least as large as a patch.
    recipe
        How to train.

    Raises
    ------
    ValueError
        There is no image, or one is smaller than a patch.
    """

    def __init__(self, images: Sequence[Image], recipe: Recipe) -> None:
        if not images or min(side for image in images for side in image.shape) < recipe.patch:
            raise ValueError(f"images must be {recipe.patch} x {recipe.patch} or larger, and there must be one")
        self._images, self._recipe = images, recipe
        self._n_steps = 0
        # By their side: neither a few large images nor many small ones outvote the others.
        sides = np.array([image.size**0.5 for image in images])
        self._shares = sides / sides.sum()
        self._random = np.random.default_rng(recipe.seed)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            self.encryptor, self.decryptor = make_generator(recipe), make_generator(recipe)
            self._discriminator = make_discriminator(recipe)
            for network in (self.encryptor, self.decryptor):
                initialize(network)
        pair = [*self.encryptor.parameters(), *self.decryptor.parameters()]
        self._pair_step = torch.optim.Adam(pair, recipe.learning_rate, betas=(0.5, 0.999))
        self._judge_step = torch.optim.Adam(self._discriminator.parameters(), recipe.learning_rate, betas=(0.5, 0.999))

    def step(self) -> Losses:
        """Update the discriminator once, then G and F; in the warm-up G and F alone, for restoration alone."""
        plain = self._patches()
        hidden = _stored(self.encryptor(plain))
        judged = adversarial = torch.zeros(())
        if self._n_steps >= self._recipe.warm_up:
            noise = to_tensor(self._random.integers(0, 256, plain.shape, np.uint8))
            judged = _surprise(self._discriminator(noise), 1) + _surprise(self._discriminator(hidden.detach()), 0)
            self._judge_step.zero_grad()
            judged.backward()
            self._judge_step.step()
            adversarial = _surprise(self._discriminator(hidden), 1)
        restoration = functional.l1_loss(self.decryptor(hidden), plain)
        self._pair_step.zero_grad()
        (adversarial + self._recipe.restoration * restoration).backward()
        self._pair_step.step()
        self._n_steps += 1
        return Losses(judged.item(), adversarial.item(), restoration.item())

    def _patches(self) -> Tensor:
        size, cut = self._recipe.patch, []
        for _ in range(self._recipe.batch):
            image = self._images[self._random.choice(len(self._images), p=self._shares)]
            row, column = (self._random.integers(side - size + 1) for side in image.shape)
            cut.append(image[row : row + size, column : column + size])
        return to_tensor(np.stack(cut)[:, np.newaxis])


class DeepEdn:
    """A trained pair of generators; see `benchmarks.baselines.scheme.Scheme`.

    Images are padded to a multiple of 4 by their last row and column; of the cipher image the padding is cut off.
    """

    name = "DeepEDN-like"
    source = (
        "Ding et al., arXiv 2004.05523; smaller, trained for minutes, without normalization, noise as hidden domain"
    )
    lossless = False
    uses_nonce = False

    def __init__(self, encryptor: nn.Sequential, decryptor: nn.Sequential) -> None:
        self._encryptor, self._decryptor = encryptor.eval(), decryptor.eval()

    def encrypt(self, image: Image, key: bytes = b"", nonce: bytes = b"") -> Image:
        """Return what G makes of the image; key and nonce are ignored."""
        return _apply(self._encryptor, image)

    def decrypt(self, image: Image, key: bytes = b"", nonce: bytes = b"") -> Image:
        """Return what F makes of the image: near the plain image, never sure to be it."""
        return _apply(self._decryptor, image)

    def nearest(self) -> DeepEdn:
        """Return the scheme under the nearest other key: the last bit of one weight of G's first layer is flipped."""
        other = deepcopy(self._encryptor)
        with torch.no_grad():
            other[0].weight.reshape(-1)[:1].view(torch.int32).bitwise_xor_(torch.ones(1, dtype=torch.int32))
        return DeepEdn(other, self._decryptor)

    def weights(self) -> dict[str, Tensor]:
        """Return the key: the weights of both generators, by name."""
        networks = zip(_PARTS, (self._encryptor, self._decryptor), strict=True)
        return {f"{part}.{name}": value for part, network in networks for name, value in network.state_dict().items()}

    @property
    def key_bytes(self) -> int:
        """Size of the key."""
        return sum(value.nbytes for value in self.weights().values())


def train(images: Sequence[Image], recipe: Recipe) -> tuple[DeepEdn, list[Losses]]:
    """Train a scheme on one core; returns it and the losses of every step. One machine gives the same weights again."""
    torch.set_num_threads(1)
    trainer = Trainer(images, recipe)
    losses = [trainer.step() for _ in range(recipe.steps)]
    return DeepEdn(trainer.encryptor, trainer.decryptor), losses


def trained(images: Sequence[Image], recipe: Recipe, *, folder: Path = RESULTS) -> DeepEdn:
    """Return the scheme that this recipe makes of these images; the weights are kept in `folder`.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    path = weights_file(images, recipe, folder)
    if path.exists():
        return load(path, recipe)
    scheme, _ = train(images, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(scheme.weights(), part)
    part.replace(path)
    return scheme


def load(path: Path, recipe: Recipe) -> DeepEdn:
    """Read weights that `trained` has written; safetensors hold numbers only, nothing that runs."""
    weights = load_file(path)
    networks = {}
    for part in _PARTS:
        networks[part] = make_generator(recipe)
        own = {name.removeprefix(f"{part}."): value for name, value in weights.items() if name.startswith(f"{part}.")}
        networks[part].load_state_dict(own)
    return DeepEdn(**networks)


def weights_file(images: Sequence[Image], recipe: Recipe, folder: Path) -> Path:
    """Return the file for this recipe and these images: another of either is another file."""
    digest = sha256(dumps(asdict(recipe), sort_keys=True).encode())
    for image in images:
        digest.update(str(image.shape).encode() + image.tobytes())
    return folder / f"deepedn-{digest.hexdigest()[:12]}.safetensors"


def to_tensor(samples: Image) -> Tensor:
    """Return uint8 samples as float32 in [-1, 1]."""
    return torch.from_numpy(samples.astype(np.float32)) / 127.5 - 1


def _apply(network: nn.Sequential, image: Image) -> Image:
    rows, columns = image.shape
    padded = np.pad(image, ((0, -rows % _STRIDE), (0, -columns % _STRIDE)), mode="edge")
    with torch.inference_mode():
        output = network(to_tensor(padded)[np.newaxis, np.newaxis])
    return ((output[0, 0, :rows, :columns] + 1) * 127.5).round().to(torch.uint8).numpy()


def _stored(image: Tensor) -> Tensor:
    """Round to the 256 values of a sample; the gradient passes as if nothing had been rounded."""
    rounded = ((image + 1) * 127.5).round() / 127.5 - 1
    return image + (rounded - image).detach()


def _surprise(judgement: Tensor, truth: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(judgement, torch.full_like(judgement, truth))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.baselines.deepedn", description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=["train"], help="train anew on the real images that are not compared")
    parser.add_argument("--steps", type=int, default=Recipe().steps, help="updates (%(default)s)")
    arguments = parser.parse_args()
    # The images of the comparison are chosen above the baselines.
    from benchmarks.comparison.image import for_training

    images, recipe = for_training(), Recipe(steps=arguments.steps)
    weights_file(images, recipe, RESULTS).unlink(missing_ok=True)
    start = perf_counter()
    scheme = trained(images, recipe)
    print(
        f"{len(images)} images, {recipe.steps} steps, {perf_counter() - start:.0f} s, {scheme.key_bytes} bytes of key"
    )
    print(weights_file(images, recipe, RESULTS))


if __name__ == "__main__":
    main()
