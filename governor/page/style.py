"""The style sheet of the page, for light and dark screens and for paper."""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root { color-scheme: light dark;
  --page: #f7f8fa; --card: #ffffff; --ink: #1b2430; --muted: #5b6675; --rule: #dfe3e8;
  --line: #2563b8; --ok: #1d7f4e; --failed: #c62f2f; --timeout: #b35c00;
  --interrupted: #7a4bb5; --not-run: #6b7480; }
@media (prefers-color-scheme: dark) { :root {
  --page: #12161c; --card: #1b212a; --ink: #e6eaf0; --muted: #9aa6b5; --rule: #313a46;
  --line: #6ea8fe; --ok: #4cc38a; --failed: #ff7b72; --timeout: #f0a34a;
  --interrupted: #b794f6; --not-run: #8b96a5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 76rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
h3 { font-size: .95rem; margin: 0 0 .4rem; font-family: ui-monospace, monospace;
  overflow-wrap: anywhere; }
.muted { color: var(--muted); font-weight: normal; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: .5rem;
  padding: .8rem 1rem; margin: 0 0 .8rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0 0; }
.tiles .card { margin: 0; flex: 1 1 8rem; }
.tiles b { display: block; font-size: 1.4rem; line-height: 1.3; }
.notes { margin: 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
.job { display: grid; grid-template-columns: minmax(6rem, 14rem) 1fr 11rem; gap: .8rem;
  align-items: center; min-height: 1.7rem; }
.job .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.job .end { white-space: nowrap; font-size: .85rem; overflow: hidden; text-overflow: ellipsis; }
.track { position: relative; height: 1rem; border-radius: .2rem; background: var(--page); }
.bar { position: absolute; top: 0; height: 100%; min-width: 3px; border-radius: .2rem;
  background: var(--not-run); }
.bar.ok { background: var(--ok); } .bar.failed { background: var(--failed); }
.bar.timeout { background: var(--timeout); } .bar.interrupted { background: var(--interrupted); }
.ticks, .time { display: flex; justify-content: space-between; color: var(--muted);
  font-size: .75rem; }
.status { color: var(--not-run); white-space: nowrap; } .status.ok { color: var(--ok); }
.status.failed { color: var(--failed); } .status.timeout { color: var(--timeout); }
.status.interrupted { color: var(--interrupted); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr));
  gap: .8rem; align-items: start; margin-bottom: 1.2rem; }
.cards .card { margin: 0; min-width: 0; }
figure { margin: 0 0 .4rem; min-width: 0; } figcaption { font-size: .85rem; }
.plot { position: relative; height: 6rem; border-bottom: 1px solid var(--rule);
  border-top: 1px solid var(--rule); margin-left: 3.2rem; }
.plot span { position: absolute; right: 100%; padding-right: .4rem; font-size: .75rem;
  color: var(--muted); line-height: 1; white-space: nowrap; }
.plot .top { top: 0; } .plot .zero { bottom: 0; }
.time { margin-left: 3.2rem; }
svg { display: block; width: 100%; height: 100%; overflow: visible; }
svg path { vector-effect: non-scaling-stroke; fill: none; stroke-width: 1.75px; }
svg .area { fill: var(--line); fill-opacity: .14; stroke: none; }
svg .line { stroke: var(--line); stroke-linejoin: round; }
svg .limit { stroke: var(--timeout); stroke-dasharray: 5 4; stroke-width: 1.25px; }
svg .refused { stroke: var(--failed); }
.key { font-size: .85rem; margin: 0 0 .6rem; } .key i { font-style: normal; font-weight: bold; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th { color: var(--muted); font-weight: 600; white-space: nowrap; }
td.figure, th.figure { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
@media (max-width: 40rem) { body { padding: .8rem; }
  .job { grid-template-columns: 6rem 1fr; } .job .end { grid-column: 2; } }
@media print { .card { break-inside: avoid; } body { max-width: none; } }
"""
