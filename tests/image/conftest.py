"""The image, built once."""

from typing import NoReturn

import pytest

from tests.image.workshop import NoWorkshopError, Workshop, missing


@pytest.fixture(scope="session")
def workshop() -> Workshop:
    """Where the image is built and runs."""
    lacks = missing()
    if lacks is not None:
        _no_image(lacks)
    workshop = Workshop()
    try:
        workshop.build()
    except NoWorkshopError as error:
        _no_image(str(error))
    return workshop


def _no_image(reason: str) -> NoReturn:
    """Skip the test, and say so loudly: not every machine may have what this takes."""
    pytest.skip(f"NO IMAGE CAN BE BUILT HERE, SO IT IS NOT TESTED: {reason}")
