"""What a configuration may read of the environment: `${env:HOME}`, as the reference has it, or `${oc.env:HOME}`.

A configuration ends up in journals, MLflow and logs, and may come from somebody else: secrets are not read into it.
"""

import os
import re

from omegaconf import OmegaConf

from trainables.errors import UserError

SECRET = re.compile(r"PASSW|PWD$|SECRET|TOKEN|CREDENTIAL|AUTH|(^|_)(API_?)?KEY(_|$)", re.IGNORECASE)


def register() -> None:
    """Lets OmegaConf resolve both spellings by `variable`, in place of its own."""
    for spelling in ("env", "oc.env"):
        OmegaConf.register_new_resolver(spelling, variable, replace=True)


def variable(name: str, default: str | None = None) -> str:
    """The variable's value, or the default; UserError where there is neither, or the name says that it is a secret."""
    if SECRET.search(name) and name != "PWD":
        raise UserError(f"the configuration asks for {name!r} of the environment: a secret stays there")
    if name not in os.environ and default is None:
        raise UserError(f"the environment has no variable {name!r}, which the configuration asks for")
    return os.environ.get(name, str(default))
