"""A view as HTML that needs neither script nor style sheet."""

import base64
import html

from labkit.explore.view import Panel, Table, View

WIDEST = 960  # pixels of all pictures side by side
GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:10px"
SWATCH = "display:inline-block;width:12px;height:12px;margin-right:4px;border:1px solid #777"


def view_html(view: View, *, name: str, renders: int, live: bool = False) -> str:
    """A view as HTML that needs neither script nor style sheet, takes its text colour from the page
    and wraps in a narrow one.

    Args:
        name, renders: kept as data attributes, so that a test in the page can count them.
        live: clicks are answered, so hints to click are shown.
    """
    figures = "".join(_figure(one, hint=one.hint if live else "") for one in view.panels)
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in view.readout[1:])
    verdict = html.escape(view.readout[0]) if view.readout else ""
    return (
        f'<div class="labkit-view" data-explorer="{html.escape(name)}" data-renders="{renders}"'
        f' style="max-width:{WIDEST}px;line-height:1.35">'
        f'<p class="labkit-verdict" style="margin:0 0 4px;font-weight:600">{verdict}</p>'
        f'<div class="labkit-grid" style="{GRID}">{figures}</div>{_legend(view)}'
        f'<ul class="labkit-readout" style="margin:8px 0;padding-left:1.2em">{lines}</ul>'
        f"{''.join(map(_table, view.tables))}</div>"
    )


def _figure(one: Panel, *, hint: str) -> str:
    source = base64.b64encode(one.content).decode()
    note = "".join(f" <span>{html.escape(text)}</span>" for text in (one.note, hint) if text)
    width, height = one.size
    pointable = ' class="labkit-pointable"' if one.pointable else ""
    return (
        f'<figure style="margin:0"><div{pointable} style="position:relative">'
        f'<img src="data:image/png;base64,{source}" alt="{html.escape(one.alt)}" width="{width}"'
        f' height="{height}" decoding="sync" style="width:100%;height:auto;display:block">'
        f'{_over(one)}</div><figcaption style="font-size:13px;margin-top:2px">'
        f"<b>{html.escape(one.title)}</b>{note}</figcaption></figure>"
    )


def _over(one: Panel) -> str:
    """The second picture of a panel, right of a line in the middle until a script moves it."""
    if not one.over:
        return ""
    source = base64.b64encode(one.over).decode()
    return (
        '<div class="labkit-over" style="position:absolute;inset:0;clip-path:inset(0 0 0 50%);'
        f'background:url(data:image/png;base64,{source}) 0 0/100% 100%"></div>'
    )


def _table(table: Table) -> str:
    cell = 'style="text-align:right;padding:1px 10px"'
    head = "".join(f'<th scope="col" {cell}>{html.escape(one)}</th>' for one in table.header)
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left;padding:1px 10px">{html.escape(row[0])}</th>'
        + "".join(f"<td {cell}>{html.escape(one)}</td>" for one in row[1:])
        + "</tr>"
        for row in table.rows
    )
    return (
        '<table style="border-collapse:collapse;font-size:13px;margin:6px 0">'
        '<caption style="text-align:left;caption-side:top;padding:2px 0">'
        f"{html.escape(table.caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _legend(view: View) -> str:
    if not view.legend:
        return ""
    parts = "".join(
        f'<span style="margin-right:12px;white-space:nowrap"><span style="{SWATCH};'
        f'background:rgb({",".join(map(str, colour))})"></span>{html.escape(name)}</span>'
        for name, colour in view.legend
    )
    return f'<div class="labkit-legend" style="font-size:13px;margin-top:6px">{parts}</div>'
