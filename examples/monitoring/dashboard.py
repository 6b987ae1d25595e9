"""The Grafana dashboard for governors, as code.

    python examples/monitoring/dashboard.py > examples/monitoring/dashboard.json

writes what Grafana imports. It needs grafana-foundation-sdk, of the extra ``dev``; Grafana and
whoever only imports the file do not. What is below is in the order of the screen.
"""

from __future__ import annotations

import json
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import bargauge, common, dashboard, stat, table, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = DataSourceRef("prometheus", "$source")
GOVERNOR: Final = 'job="governor",instance=~"$instance"'
"""Which series: those of the governors that are chosen."""
CHOSEN: Final = f'{GOVERNOR},hierarchy=~"$hierarchy",container=~"$container"'
"""Those of the containers that are chosen."""
FIRING: Final = 'alertstate="firing"'
WHERE: Final = "{{hierarchy}}:{{container}}"
RATE: Final = "$__rate_interval"

WIDTH: Final = 24
"""Of the screen, in Grafana's units."""
TALL: Final = 8
SHORT: Final = 4
FEW: Final = 10
"""Series in a panel: among thousands of containers only the first ones are of interest."""
PER_SECOND: Final = "suffix: /s"
QUANTILES: Final = ((0.5, "{{way}}, half"), (0.99, "{{way}}, 99 %"))

Graph: TypeAlias = timeseries.Panel
AnyPanel: TypeAlias = Graph | bargauge.Panel | stat.Panel | table.Panel
Query = tuple[str, str]
"""An expression of PromQL, and what its series are called."""


def build() -> Dashboard:
    """All of it."""
    board = (
        dashboard.Dashboard("governor")
        .uid("governor")
        .description("Containers, limits, jobs and enforcement of governors.")
        .tags(["governor"])
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus")
        )
    )
    for name, metric in (
        ("instance", 'governor_build_info{job="governor"}'),
        ("hierarchy", f"governor_enforcement_level{{{GOVERNOR}}}"),
        ("container", f'governor_enforcement_level{{{GOVERNOR},hierarchy=~"$hierarchy"}}'),
    ):
        board.with_variable(choice(name, metric))
    for add in (overview, limits, held, cpu, jobs, agent):
        add(board)
    built = board.build()
    for number, panel in enumerate(built.panels or [], 1):
        panel.id_val = number  # by which links to a panel know it
    return built


# -- rows ----------------------------------------------------------------------------------


def overview(board: dashboard.Dashboard) -> None:
    """What one wants to know at a glance."""
    containers = f'sum(governor_hierarchy_containers{{{GOVERNOR},hierarchy=~"$hierarchy"}})'
    tasks, files = (
        f'sum(max by (instance) (governor_{resource}_held{{{GOVERNOR},container="/"}}))'
        for resource in ("numtasks", "numfiles")
    )
    computing = f'rate(governor_cpuacct_usage_seconds_total{{{GOVERNOR},container="/"}}[{RATE}])'
    running = f'sum(governor_job_state{{{GOVERNOR},state="running"}})'
    firing = f"count(ALERTS{{{GOVERNOR},{FIRING}}})"
    failing = f"count(resource:governor_limit:unenforced{{{CHOSEN}}})"
    refused = f"sum(increase(resource:governor_failures:total{{{CHOSEN}}}[$__range]))"
    agents, spawners = (
        f"sum(increase(governor_{process}_restarts_total{{{GOVERNOR}}}[$__range]))"
        for process in ("agent", "spawner")
    )
    lost = f"count(governor_recording{{{GOVERNOR}}} == 0)"
    board.with_row(dashboard.Row("Overview"))
    line(
        board,
        figure("Governors", "Those that answer.", f"sum(up{{{GOVERNOR}}})"),
        figure("Containers", "Of all hierarchies.", containers),
        figure("Tasks", "Processes and threads.", tasks),
        figure("Open files", "Of all of them.", files),
        figure("CPUs in use", "By all.", f"sum(max by (instance) ({computing}))").decimals(1),
        figure("Jobs running", "Of all governors.", f"{running} or vector(0)"),
        height=SHORT,
    )
    line(
        board,
        alarm("Alerts", "Those that fire.", f"{firing} or vector(0)"),
        alarm("Limits that fail", "They do not hold for everybody.", f"{failing} or vector(0)"),
        alarm("Refused", "Requests in the time shown, at whichever limit.", refused),
        alarm("Agents replaced", "In the time shown; jobs have waited for a moment.", agents),
        alarm("Spawners replaced", "In the time shown; jobs have gone on.", spawners),
        alarm("Not recorded", "Governors that cannot write their state.", f"{lost} or vector(0)"),
        height=SHORT,
    )
    line(board, alerts(), height=SHORT)


def limits(board: dashboard.Dashboard) -> None:
    """Who is near a limit, and who meets one."""
    used = f"resource:governor_held:ratio{{{CHOSEN}}}"
    refused = f"rate(resource:governor_failures:total{{{CHOSEN}}}[{RATE}]) > 0"
    legend = f"{WHERE} {{{{resource}}}}"
    meaning = "Part of the limit that is held, of the containers nearest to theirs."
    fullest = graph("Fullest containers", meaning, "percentunit", first(used, legend))
    fullest.thresholds(warning(0.9)).thresholds_style(dashed())
    now_full = bars("Fullest now", meaning, first(used, legend))
    meaning = "Requests refused each second, at the container's own limit."
    refusals = graph("Refusals", meaning, "reqps", first(refused, legend))
    board.with_row(dashboard.Row("Limits"))
    line(board, fullest, now_full, refusals.no_value("nothing is refused"))


def held(board: dashboard.Dashboard) -> None:
    """What is held by containers, those below them included."""

    def panel(title: str, unit: str, **metrics: str) -> Graph:
        queries = [
            first(f"governor_{metric}{{{CHOSEN}}}", f"{WHERE} {name}".rstrip("_ "))
            for name, metric in metrics.items()
        ]
        return graph(title, "Sub-containers included.", unit, *queries)

    line(
        board,
        panel("Tasks held", "short", _="numtasks_held"),
        panel("Open files held", "short", _="numfiles_held"),
        panel(
            "Sockets, terminals, locks",
            "short",
            sockets="numsock_held",
            terminals="numpty_held",
            locks="numflock_held",
        ),
    )
    line(
        board,
        panel("Address space", "bytes", _="privvmpages_held_bytes"),
        panel("Memory", "bytes", PSS="physpages_held_bytes", RSS="rsspages_held_bytes"),
    )


def cpu(board: dashboard.Dashboard) -> None:
    """Who computes, and where."""
    own = f"rate(governor_cpuacct_usage_own_seconds_total{{{CHOSEN}}}[{RATE}])"
    root = f'{GOVERNOR},hierarchy=~"$hierarchy",container="/"'
    parts = [
        (f"rate(governor_cpuacct_usage_{part}_seconds_total{{{root}}}[{RATE}])", legend)
        for part, legend in (("user", "{{hierarchy}} user"), ("sys", "{{hierarchy}} kernel"))
    ]
    busy = [
        (f"governor_cpuacct_load{{{root}}}", "{{hierarchy}} in use"),
        (f"governor_cpuset_effective_cpus{{{root}}}", "{{hierarchy}} allowed"),
    ]
    confined = first(f"governor_cpuset_effective_cpus{{{CHOSEN}}}", WHERE)
    board.with_row(dashboard.Row("CPU"))
    line(
        board,
        stacked(graph("CPUs by container", "Without sub-containers.", "short", first(own, WHERE))),
        stacked(graph("Programs and kernel", "CPUs in use by all.", "short", *parts)),
    )
    line(
        board,
        graph("In use and allowed", "Over cpuacct's last interval; of all.", "short", *busy),
        graph("CPUs to run on", "Those of the set that are there.", "short", confined),
    )


def jobs(board: dashboard.Dashboard) -> None:
    """What runs, and how it ended."""
    states = f"sum by (state) (governor_job_state{{{GOVERNOR}}})"
    running = f'governor_job_state{{{GOVERNOR},state="running"}} == 1'
    age = f"governor_job_age_seconds{{{GOVERNOR}}} and on (instance, id) ({running})"
    ended = f"sum by (outcome) (rate(governor_jobs_ended_total{{{GOVERNOR}}}[{RATE}]))"
    codes = f'count_values("code", governor_job_exit_code{{{GOVERNOR}}})'
    where = f"governor_job_container_info{{{CHOSEN}}} and on (instance, id) ({running})"
    used = f"rate(governor_cpuacct_usage_seconds_total{{{CHOSEN}}}[{RATE}])"
    computing = f"({where}) * on (instance, hierarchy, container) group_left () {used}"
    job = "{{name}} ({{id}})"
    together = "Of the container that each job is in: its own, and of whoever else is in there."
    board.with_row(dashboard.Row("Jobs"))
    line(
        board,
        stacked(graph("Jobs", "Ended ones for a while.", "short", (states, "{{state}}"))),
        graph(
            "Jobs ended", "Each second; failure: not with 0.", PER_SECOND, (ended, "{{outcome}}")
        ),
        graph("Exit codes", "Of the jobs that ended lately.", "short", (codes, "{{code}}")),
    )
    line(
        board,
        graph("Longest running", "How long so far.", "s", first(age, job)),
        graph("CPUs where jobs are", together, "short", first(computing, f"{job} in {WHERE}")),
    )


def agent(board: dashboard.Dashboard) -> None:
    """Whether limits hold, and what it costs."""
    by = "by (instance)"
    traps = f"sum by (syscall) (rate(governor_agent_traps_total{{{GOVERNOR}}}[{RATE}]))"
    buckets = f"sum by (le, way) (rate(governor_agent_answer_seconds_bucket{{{GOVERNOR}}}[{RATE}]))"
    answers = [(f"histogram_quantile({part}, {buckets})", name) for part, name in QUANTILES]
    recounts = f"sum {by} (rate(governor_agent_recount_seconds_total{{{GOVERNOR}}}[{RATE}]))"
    failing = f"count by (resource) (resource:governor_limit:unenforced{{{CHOSEN}}})"
    restarts = [
        (
            f"sum {by} (governor_{process}_restarts_total{{{GOVERNOR}}})",
            f"{{{{instance}}}} {process}",
        )
        for process in ("agent", "spawner")
    ]
    recorded = f"min {by} (governor_recording{{{GOVERNOR}}})"
    weakly = "Limits of containers that do not hold for every process there."
    where = "{{instance}}"
    board.with_row(dashboard.Row("Agent"))
    line(
        board,
        graph("Trapped calls", "Each waits for an answer.", "ops", first(traps, "{{syscall}}")),
        graph("Time to answer", "From a call's receipt to its answer.", "s", *answers),
        graph("Recounts", "Part of the agent's time.", "percentunit", (recounts, where)),
    )
    line(
        board,
        graph("Limits that fail", weakly, "short", (failing, "{{resource}}")).no_value("all hold"),
        graph("Replaced", "Processes of governor, since it runs.", "short", *restarts),
        graph("Recorded", "1: all is, 0: nothing can be.", "short", (recorded, where))
        .max(1)
        .no_value("no state directory"),
    )


# -- panels --------------------------------------------------------------------------------


def graph(title: str, meaning: str, unit: str, *queries: Query) -> Graph:
    """Series over time."""
    panel = Graph().title(title).description(meaning).datasource(SOURCE).unit(unit)
    panel.min(0).fill_opacity(10).show_points(shapes.VisibilityMode.NEVER)
    panel.legend(
        common.VizLegendOptions()
        .display_mode(shapes.LegendDisplayMode.LIST)
        .placement(shapes.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    panel.tooltip(
        common.VizTooltipOptions()
        .mode(shapes.TooltipDisplayMode.MULTI)
        .sort(shapes.SortOrder.DESCENDING)
    )
    for ref, (expr, legend) in zip("ABCDEF", queries, strict=False):
        panel.with_target(Dataquery().ref_id(ref).expr(expr).legend_format(legend).range())
    return panel


def stacked(panel: Graph) -> Graph:
    """Series that add up to something."""
    stacking = common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A")
    return panel.stacking(stacking).fill_opacity(40)


def bars(title: str, meaning: str, query: Query) -> bargauge.Panel:
    """Parts of 1, as they are now."""
    expr, legend = query
    panel = bargauge.Panel().title(title).description(meaning).datasource(SOURCE)
    panel.unit("percentunit").min(0).max(1).thresholds(warning(0.7, 0.9))
    panel.orientation(shapes.VizOrientation.HORIZONTAL).reduce_options(latest())
    return panel.with_target(now(expr).legend_format(legend))


def figure(title: str, meaning: str, expr: str) -> stat.Panel:
    """One number, as it is now."""
    panel = stat.Panel().title(title).description(meaning).datasource(SOURCE).unit("short")
    panel.decimals(0).graph_mode(shapes.BigValueGraphMode.NONE).reduce_options(latest())
    return panel.thresholds(warning()).with_target(now(expr))


def alarm(title: str, meaning: str, expr: str) -> stat.Panel:
    """One number that had better be 0."""
    return figure(title, meaning, expr).thresholds(warning(1.0))


def alerts() -> table.Panel:
    """What fires now."""
    expr = f"ALERTS{{{GOVERNOR},{FIRING}}}"
    panel = table.Panel().title("Alerts that fire").datasource(SOURCE)
    panel.description("What to do about each is in docs/monitoring.md.").no_value("none fires")
    hidden = {
        "excludeByName": dict.fromkeys(("Time", "Value", "__name__", "alertstate", "job"), True)
    }
    panel.with_transformation(DataTransformerConfig("organize", options=hidden))
    return panel.with_target(now(expr).format(PromQueryFormat.TABLE))


# -- what they are made of -----------------------------------------------------------------


def choice(name: str, metric: str) -> dashboard.QueryVariable:
    """A variable at the top of the screen: values of the label of that name, first of all all."""
    chosen = dashboard.QueryVariable(name).label(name.capitalize()).datasource(SOURCE)
    chosen.query(f"label_values({metric}, {name})").sort(VariableSort.ALPHABETICAL_ASC)
    chosen.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True)
    chosen.current(VariableOption(True, "All", "$__all"))
    return chosen.include_all(True).all_value(".*")


def first(expr: str, legend: str) -> Query:
    """Its largest series."""
    return f"topk({FEW}, {expr})", legend


def now(expr: str) -> Dataquery:
    """A query for what is, not for what was."""
    return Dataquery().ref_id("A").expr(expr).instant()


def latest() -> common.ReduceDataOptions:
    """Of each series its last value."""
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def warning(*above: float) -> dashboard.ThresholdsConfig:
    """Green, and from these values on orange (where there are two) and red."""
    colours = ["orange", "red"][-len(above) :] if above else []
    steps = [Threshold(None, "green"), *map(Threshold, above, colours)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def dashed() -> common.GraphThresholdsStyleConfig:
    """Thresholds as lines."""
    return common.GraphThresholdsStyleConfig().mode(shapes.GraphTresholdsStyleMode.DASHED)


def line(board: dashboard.Dashboard, *panels: AnyPanel, height: int = TALL) -> None:
    """Panels side by side."""
    for panel in panels:
        board.with_panel(panel.height(height).span(WIDTH // len(panels)))


if __name__ == "__main__":
    print(json.dumps(build(), cls=JSONEncoder, indent=2, sort_keys=True))
