"""Train a small network straight from an encrypted folder. The losses are those of the plain run, bit for bit.

::

    python -m demo.samples                             # writes the phantoms into sample_dicom/
    python examples/train_from_encrypted.py [FOLDER]   # a folder with ct/ and seg/ in it

The cells (``# %%``) are run one after another by editors that know notebooks. Needs ``iomt-crypt[checks]``.
"""

# %% What is needed
from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from monai.data import CacheDataset, DataLoader, Dataset, PydicomReader
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from monai.transforms import Compose, LoadImaged, Resized, ScaleIntensityRanged

from iomt_crypt import Epoch, HpkeIdentity, Policy, encrypt_file
from iomt_crypt.checks import EncryptedCacheDataset
from iomt_crypt.seal import write_identity

PLAIN = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "sample_dicom"
WORK = tempfile.TemporaryDirectory(prefix="iomt-crypt-example-")
ENCRYPTED, IDENTITY = Path(WORK.name) / "study", Path(WORK.name) / "identity.txt"

# %% An encrypted study
# In a hospital the gateway makes it, or `iomt-crypt encrypt -r RECIPIENT FOLDER -o DIR`; the researcher has the key
# file and never sees a plain one. An epoch wraps its key once for all files.
identity = HpkeIdentity.generate()
write_identity(IDENTITY, identity)
epoch = Epoch.create([identity.recipient])
for path in sorted([*PLAIN.glob("ct/*.dcm"), *PLAIN.glob("seg/*.dcm")]):
    target = ENCRYPTED / path.relative_to(PLAIN)
    target.parent.mkdir(parents=True, exist_ok=True)
    encrypt_file(path, target, recipients=epoch, policy=Policy(uids="keep"))

# %% What the network sees: the CT as a volume, and the lungs of the segmentation object
KEYS = ("image", "label")
PREPARE = Compose(
    [
        ScaleIntensityRanged("image", a_min=-1000, a_max=400, b_min=0.0, b_max=1.0, clip=True),
        Resized(KEYS, (64, 64, 12), mode=("area", "nearest")),
    ]
)


def items(folder: Path) -> list[dict[str, Path]]:
    """One volume and its label; a real study has many of them."""
    return [{"image": folder / "ct", "label": folder / "seg" / "seg-lungs.dcm"}]


# What is prepared stays in memory; EncryptedDataset would decrypt anew in each epoch.
encrypted = EncryptedCacheDataset(items(ENCRYPTED), PREPARE, identities=IDENTITY, keys=KEYS)
load = LoadImaged(KEYS, reader=PydicomReader(), ensure_channel_first=True)
plain = CacheDataset(items(PLAIN), [load, *PREPARE.transforms], progress=False)


# %% Training, the same for both
def train(dataset: Dataset, n_epochs: int = 20) -> list[float]:
    """Losses of a tiny U-Net on the slices; equal for equal images, since one thread adds in one order."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = UNet(2, in_channels=1, out_channels=1, channels=(4, 8, 16), strides=(2, 2))
    optimizer, loss_of = torch.optim.Adam(network.parameters(), lr=0.02), DiceLoss(sigmoid=True)
    losses = []
    for _ in range(n_epochs):
        for batch in DataLoader(dataset):
            # (1, channel, x, y, slice) to (slice, channel, x, y)
            image, label = (batch[key].as_tensor()[0].permute(3, 0, 1, 2) for key in KEYS)
            optimizer.zero_grad()
            loss = loss_of(network(image), label)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


# %% Twice: from noise on disk, and from the plain files
losses = {"encrypted": train(encrypted), "plain": train(plain)}
for name, values in losses.items():
    print(f"{name:>9}: " + " ".join(f"{value:.6f}" for value in values))
print("equal, bit for bit" if losses["encrypted"] == losses["plain"] else "different")

# %% What the archive's copy looks like: noise, without the key
noise = LoadImaged("image", reader=PydicomReader())({"image": ENCRYPTED / "ct"})["image"]
print(f"without the key: {noise.shape}, mean {noise.mean():.0f}, deviation {noise.std():.0f}")
WORK.cleanup()
