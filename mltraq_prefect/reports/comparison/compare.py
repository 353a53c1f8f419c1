"""`compare`: which group of runs is better, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from mltraq_prefect.requirements import check_installed

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

SCIPY = ">=1.11"


def compare(
    data: Any,
    metric: str,
    by: str | Sequence[str] | None = None,
    *,
    pair_on: str | Sequence[str] | None = None,
    baseline: Any = None,
    test: Literal["t", "wilcoxon", "mcnemar", "bootstrap"] | None = None,
    confidence: float = 0.95,
    nan_policy: Literal["raise", "omit"] = "raise",
    target: Any = None,
    score: Callable[[Any, Any], float] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare groups of runs in a metric; needs SciPy (extra `stats`). More in docs/compare.md.

    Args:
        data: A frame with a row a run, an experiment or its runs, a list of experiments, or a
            mapping from names to those. Several have a column `experiment`.
        metric: Column of numbers, or of predictions if there is a `target`.
        by: Columns whose values make the groups; `experiment` if there are several.
        pair_on: Columns, such as a fold and a seed, whose values tell which runs of two groups
            belong together. If None, runs are independent of each other.
        baseline: Value of `by` (a tuple for several columns) of the group that all others are
            compared with. If None, each group is compared with each that appears before it.
        test: ``"t"`` (paired, or Welch's) or ``"wilcoxon"`` (signed ranks, or rank sums) for
            numbers; ``"mcnemar"`` or ``"bootstrap"`` (paired) for predictions. The first, if None.
        confidence: Of the intervals, between 0 and 1.
        nan_policy: ``"omit"`` leaves out runs without the metric; ``"raise"`` refuses them.
        target: For predictions, what is true of the samples: a column, or an array for all runs.
        score: For the bootstrap, a function of targets and predictions; accuracy if None.
        seed: Of what the bootstrap draws.

    Returns:
        A frame with a row for each comparison: `group`, `baseline`, `effect` (group - baseline),
        `standard_error`, `ci_low`, `ci_high`, `p`, `p_holm` (adjusted for the number of rows), `n`
        and `baseline_n` (runs or samples), `value` and `baseline_value` (means or scores),
        `dropped` (runs without a partner), and `test`.

    Raises:
        InvalidInput: The data do not answer the question: the message says why.
        UnsupportedVersion: There is no SciPy.

    Examples:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"model": list("aabb"), "seed": [0, 1, 0, 1], "y": [1, 2, 3, 5]})
        >>> compare(frame, "y", by="model", pair_on="seed")[["group", "baseline", "effect", "n"]]
          group baseline  effect  n
        0     b        a     2.5  2
    """
    check_installed("scipy", SCIPY)
    from mltraq_prefect.reports.comparison.question import Question, columns_of
    from mltraq_prefect.reports.comparison.table import answer

    groups, pairs = columns_of("by", by), columns_of("pair_on", pair_on)
    how = (baseline, test, confidence, nan_policy, target, score, seed)
    return answer(data, Question(metric, groups, pairs, *how))
