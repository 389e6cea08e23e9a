// ---------------------------------------------------------------- grid: the matrix, of which only what is seen is drawn

// The cell that keys move (its place in rows and columns), the pair whose details are open, what is drawn, and sizes.
let at = [0, 0], chosen = null, drawn = null, keeping = false, size = { cell: 0, row: 0, head: 0, names: 0 };
const BEYOND = 6, WHOLE = 2500;
const grid = $('grid'), scroller = $('scroll');

const describe = (from, to) => {
  if (from === to) return `${name(from)} to itself`;
  const state = shown.fares(from, to), who = `${name(from)} to ${name(to)}: `;
  if (state < 0) return `${who}left out by the filter`;
  const passing = flowsOf(from, to).filter(passes).map((flow) => D.services[flow[F.service]]);
  const what = passing.length && state !== FARES.deny && state !== FARES.none ? `passes: ${listOf([...new Set(passing)], 6)}` : SIGNS[state][2];
  return `${who}${state === FARES.bad && passing.length ? 'the verdicts disagree; ' : ''}${what}`;
};

const measure = () => {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const longest = Math.max(8, ...shown.rows.map((p) => name(p).length));
  size = { cell: Math.round(1.9 * rem), row: Math.round(1.75 * rem), head: Math.round(8.5 * rem),
    names: Math.round(Math.min(longest * 0.53 * rem + 1.3 * rem, 14 * rem, scroller.parentElement.clientWidth * 0.4)) };
};
// Which rows and columns are in sight, and some beyond.
const sight = () => {
  const { rows, columns } = shown;
  if (rows.length * columns.length <= WHOLE) return { r0: 0, r1: rows.length, c0: 0, c1: columns.length };
  const part = (from, seen, one, all) => [Math.max(0, Math.floor(from / one) - BEYOND), Math.min(all, Math.ceil((from + seen) / one) + BEYOND)];
  const [r0, r1] = part(scroller.scrollTop, (scroller.clientHeight || innerHeight) - size.head, size.row, rows.length);
  const [c0, c1] = part(scroller.scrollLeft, (scroller.clientWidth || innerWidth) - size.names, size.cell, columns.length);
  return { r0, r1, c0, c1 };
};
const render = (anew) => {
  const w = sight(), { rows, columns } = shown;
  if (!anew && drawn && w.r0 === drawn.r0 && w.r1 === drawn.r1 && w.c0 === drawn.c0 && w.c1 === drawn.c1) return;
  drawn = w;
  const held = grid.contains(document.activeElement);
  const before = w.c0 * size.cell, after = (columns.length - w.c1) * size.cell, gap = '<td class="gap" aria-hidden="true"></td>';
  const column = (width, span) => width ? `<col span="${span || 1}" style="width:${width}px">` : '';
  const across = (cells) => `${before ? gap : ''}${cells.join('')}${after ? gap : ''}`;
  const space = (count) => count ? `<tr aria-hidden="true" style="height:${count * size.row}px"><td class="gap"></td></tr>` : '';
  const heads = columns.slice(w.c0, w.c1).map((to, i) =>
    `<th scope="col" role="columnheader" aria-colindex="${w.c0 + i + 2}" title="${safe(name(to))}"><span>${safe(name(to))}</span></th>`);
  const cell = (from, r) => (to, i) => {
    const c = w.c0 + i, state = from === to ? -1 : shown.fares(from, to), here = r === at[0] && c === at[1];
    const look = from === to ? ' class="self"' : state < 0 ? '' : ` class="s-${SIGNS[state][0]}"`;
    const open = chosen && chosen[0] === from && chosen[1] === to ? ' aria-selected="true"' : '';
    return `<td role="gridcell"${look}${open} aria-colindex="${c + 2}" tabindex="${here ? 0 : -1}" data-r="${r}" data-c="${c}" aria-label="${safe(describe(from, to))}">${state < 0 ? '' : SIGNS[state][1]}</td>`;
  };
  const lines = rows.slice(w.r0, w.r1).map((from, i) => `<tr role="row" aria-rowindex="${w.r0 + i + 2}" style="height:${size.row}px"><th scope="row" role="rowheader" aria-colindex="1" title="${safe(name(from))}">${safe(name(from))}</th>${across(columns.slice(w.c0, w.c1).map(cell(from, w.r0 + i)))}</tr>`);
  grid.innerHTML = `<colgroup>${column(size.names)}${column(before)}${column(size.cell, w.c1 - w.c0)}${column(after)}</colgroup>`
    + `<thead><tr role="row" aria-rowindex="1"><th class="corner" scope="col" role="columnheader" aria-colindex="1">from ↓ &nbsp; to →</th>${across(heads)}</tr></thead>`
    + `<tbody>${space(w.r0)}${lines.join('')}${space(rows.length - w.r1)}</tbody>`;
  // The focus stays where it was, or with the grid until its cell is in sight again: never with nobody.
  const cellHere = cellAt(...at);
  grid.tabIndex = cellHere ? -1 : 0;
  keeping = held;
  if (held) (cellHere || grid).focus({ preventScroll: true });
  keeping = false;
  frame();
};
const cellAt = (r, c) => {
  const w = drawn;
  if (!w || r < w.r0 || r >= w.r1 || c < w.c0 || c >= w.c1 || !shown.rows.length) return null;
  return grid.tBodies[0].rows[r - w.r0 + (w.r0 ? 1 : 0)].cells[c - w.c0 + 1 + (w.c0 ? 1 : 0)];
};
const drawGrid = () => {
  const was = [shown.rows[at[0]], shown.columns[at[1]]].map((p) => p === undefined ? '' : namesBefore[p]);
  select();
  namesBefore = D.parties.map((party) => party.name);
  const { rows, columns } = shown, none = !rows.length;
  const [r, c] = [rows.indexOf(partyNamed(was[0])), columns.indexOf(partyNamed(was[1]))];
  at = r >= 0 && c >= 0 ? [r, c] : [0, Math.max(0, columns.findIndex((to) => to !== rows[0]))];
  scroller.hidden = none;
  $('nothing').hidden = !none;
  grid.setAttribute('aria-rowcount', rows.length + 1);
  grid.setAttribute('aria-colcount', columns.length + 1);
  measure();
  grid.style.width = `${size.names + columns.length * size.cell}px`;
  render(true);
  drawPicture();
  const words = shownWords();
  if ($('shown').textContent !== words) $('shown').textContent = words;
};
let namesBefore = [];

const bringIntoSight = (r, c) => {
  const x = c * size.cell, y = r * size.row;
  const wide = scroller.clientWidth - size.names, high = scroller.clientHeight - size.head;
  if (x < scroller.scrollLeft) scroller.scrollLeft = x; else if (x + size.cell > scroller.scrollLeft + wide) scroller.scrollLeft = x + size.cell - wide;
  if (y < scroller.scrollTop) scroller.scrollTop = y; else if (y + size.row > scroller.scrollTop + high) scroller.scrollTop = y + size.row - high;
};
// The grid's one stop for the Tab key goes along.
const goTo = (r, c, focus) => {
  if (!shown.rows.length) return;
  const before = cellAt(...at);
  if (before) before.tabIndex = -1;
  at = [Math.min(Math.max(r, 0), shown.rows.length - 1), Math.min(Math.max(c, 0), shown.columns.length - 1)];
  bringIntoSight(...at);
  render(false);
  const next = cellAt(...at);
  if (!next) return;
  next.tabIndex = 0;
  grid.tabIndex = -1;
  if (focus) next.focus();
};
// A screen reader may give the focus to any cell.
const onCellFocus = (cell) => {
  const [r, c] = [Number(cell.dataset.r), Number(cell.dataset.c)];
  if (r !== at[0] || c !== at[1]) goTo(r, c, false);
};
const goToPair = (from, to, focus) => {
  const r = shown.rows.indexOf(from), c = shown.columns.indexOf(to);
  if (r >= 0 && c >= 0) goTo(r, c, focus);
};
const onGridKey = (event) => {
  const [r, c] = at, last = [shown.rows.length - 1, shown.columns.length - 1];
  const page = Math.max(1, Math.floor((scroller.clientHeight - size.head) / size.row) - 1);
  const far = event.ctrlKey && (event.key === 'Home' || event.key === 'End');
  const moves = {
    ArrowUp: [r - 1, c], ArrowDown: [r + 1, c], ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1],
    Home: [far ? 0 : r, 0], End: [far ? last[0] : r, last[1]], PageUp: [r - page, c], PageDown: [r + page, c],
  };
  if ((event.ctrlKey && !far) || event.altKey || event.metaKey) return;
  if (moves[event.key]) goTo(...moves[event.key], true);
  else if (event.key === 'Enter' || event.key === ' ') openDetail(shown.rows[r], shown.columns[c], true);
  else return;
  event.preventDefault();
};
const markChosen = () => {
  for (const old of grid.querySelectorAll('[aria-selected]')) old.removeAttribute('aria-selected');
  const cell = chosen && cellAt(shown.rows.indexOf(chosen[0]), shown.columns.indexOf(chosen[1]));
  if (cell) cell.setAttribute('aria-selected', 'true');
};
// Whose row and column the pointer is in.
const point = (cell) => {
  for (const old of grid.querySelectorAll('th.at')) old.classList.remove('at');
  if (!cell) { $('here').textContent = ''; return; }
  cell.parentElement.cells[0].classList.add('at');
  grid.tHead.rows[0].cells[cell.cellIndex].classList.add('at');
  $('here').textContent = cell.getAttribute('aria-label');
};
