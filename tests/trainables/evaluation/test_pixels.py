"""The raw-pixel floor."""

import numpy as np
import pytest

from trainables.errors import UserError
from trainables.evaluation import pixel_embeddings


def test_areas_are_averaged_and_the_mean_image_taken_off():
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    areas = images.reshape(5, 16, 4, 16, 4, 3).mean((2, 4)).reshape(5, -1) / 255
    found = pixel_embeddings(images)
    assert found.shape == (5, 768)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, areas - areas.mean(0), atol=1e-6)


def test_sides_need_not_divide_evenly():
    images = np.random.default_rng(0).integers(0, 256, (3, 50, 37, 3), dtype=np.uint8)
    assert pixel_embeddings(images).shape == (3, 768)
    assert pixel_embeddings(images[:, :10, :10]).shape == (3, 768)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((2, 3, 8, 8), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
    ],
)
def test_other_images_are_refused(images):
    with pytest.raises(UserError, match="need"):
        pixel_embeddings(images)
