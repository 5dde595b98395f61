"""HyperOpt's TPE (Bergstra et al. 2011), for who wants the original: an optional package."""

from typing import Any

from tuner.sampling.designs import random_point
from tuner.sampling.encoding import decoded, encoded
from tuner.sampling.outcomes import outcomes, ranks
from tuner.sampling.question import Draw, Question
from tuner.space import Choice

ATTEMPTS = 16


def hyperopt_point(question: Question) -> Draw:
    """One draw; places are told instead of values, TPE asks for no more, and a running trial as the worst.

    A key that does not exist in a trial has no value there, which is how HyperOpt itself tells of conditions.
    """
    import hyperopt
    from hyperopt.base import Domain

    space = {
        key: hyperopt.hp.choice(key, list(range(len(distribution.values))))
        if isinstance(distribution, Choice)
        else hyperopt.hp.uniform(key, 0.0, 1.0)
        for key, distribution in question.space.distributions.items()
    }
    domain = Domain(_never_called, space)
    trials, number = _trials(question, domain)
    for attempt in range(ATTEMPTS):
        startup = question.sweep.search.startup
        seed = question.seed(attempt)
        [new] = hyperopt.tpe.suggest([number], domain, trials, seed, n_startup_jobs=startup, verbose=False)
        point = decoded(question.space, {key: new["misc"]["vals"][key][0] for key in question.space.distributions})
        if question.space.allows(point):
            return Draw(point)
    return random_point(question)


def _never_called(point: Any) -> float:
    raise AssertionError("trials are run by Ray")


def _trials(question: Question, domain: Any) -> tuple[Any, int]:
    """HyperOpt's record of the trials, and the first number that is free in it."""
    import hyperopt

    known = outcomes(question)
    place = ranks(question.sweep, known)
    trials, documents = hyperopt.Trials(), []
    for number, one in enumerate(known):
        judged = one.trial.number in place
        code = encoded(question.space, one.point)
        keys = question.space.distributions
        misc = {
            "tid": number,
            "cmd": domain.cmd,
            "workdir": domain.workdir,
            "idxs": {key: [number] if key in code else [] for key in keys},
            "vals": {key: [code[key]] if key in code else [] for key in keys},
        }
        result = (
            {"status": hyperopt.STATUS_OK, "loss": float(place[one.trial.number])} if judged else domain.new_result()
        )
        [document] = trials.new_trial_docs([number], [None], [result], [misc])
        document["state"] = hyperopt.JOB_STATE_DONE if judged else hyperopt.JOB_STATE_RUNNING
        documents.append(document)
    trials.insert_trial_docs(documents)
    trials.refresh()
    return trials, len(known)
