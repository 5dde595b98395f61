"""Keys that a file sets and that what it chose does not use: each is an error, none is ignored."""

from trainables.errors import UserError
from tuner.schema import Block, Settings

# block -> (the key that chooses, {a key that not every choice uses: the choices that do})
USED_BY: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "search": (
        "sampler",
        {
            "startup": ("tpe", "gp", "hyperopt", "bohb"),
            "warm_start": ("tpe", "gp", "cmaes", "nsga2", "hyperopt", "bohb"),
        },
    ),
    "scheduler": (
        "name",
        {
            "grace": ("asha", "hyperband", "median"),
            "reduction": ("asha", "hyperband"),
            "brackets": ("asha",),
            "interval": ("pbt",),
            "quantile": ("pbt",),
            "resample": ("pbt",),
        },
    ),
    "validation": ("protocol", {"fraction": ("holdout",), "folds": ("kfold",)}),
}
SEVERAL_OBJECTIVES = ("nsga2", "tpe", "random", "grid", "sobol")


def check_unused(settings: Settings) -> None:
    """UserError for the first block with keys that were written for another sampler, scheduler or protocol."""
    for name, (chooser, users) in USED_BY.items():
        block: Block = getattr(settings, name)
        choice = getattr(block, chooser)
        idle = [f"{name}.{key}" for key in users if key in block.model_fields_set and choice not in users[key]]
        if idle:
            without = " ".join(f"--set {key}=null" for key in idle)
            raise UserError(f"{', '.join(idle)}: not used by {name}.{chooser}={choice!r}; leave out, or {without}")
    if settings.tradeoffs and settings.search.sampler not in SEVERAL_OBJECTIVES:
        allowed = ", ".join(SEVERAL_OBJECTIVES)
        raise UserError(f"tradeoffs need a sampler for several objectives: {allowed}, not {settings.search.sampler!r}")
