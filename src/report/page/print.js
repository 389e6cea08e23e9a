// ---------------------------------------------------------------- print: nothing cut off, names on every page

// A table of so many columns fits a page; larger matrices are printed as the list of what passes.
const A_TABLE = 24, PRINTED = 48;
const printedGrid = () => {
  const { rows, columns } = shown, filter = new URLSearchParams(fragment());
  filter.delete('cell');
  const note = shown.narrow ? `Filtered by ${[...filter].map(([key, value]) => `${key} = ${value}`).join(', ')}. ${shownWords()}` : shownWords();
  if (rows.length > PRINTED || columns.length > PRINTED) {
    return [el('p', {}, note), el('p', {}, `A table of ${number(rows.length)} rows and ${number(columns.length)} columns does not fit on paper: the list “What passes” below has every flow that passes, and what it does not have does not pass${total.open ? ' or cannot be said (see Findings)' : ''}. To print a table, filter first.`)];
  }
  const parts = [];
  for (let c = 0; c < columns.length; c += A_TABLE) parts.push(columns.slice(c, c + A_TABLE));
  const cell = (from) => (to) => {
    const state = from === to ? -1 : shown.fares(from, to);
    return el('td', { class: from === to ? 'self' : state < 0 ? '' : `s-${SIGNS[state][0]}` }, state < 0 ? '' : SIGNS[state][1]);
  };
  return [el('p', {}, note), parts.map((some, i) => el('table', { class: 'printed' },
    el('caption', {}, parts.length > 1 ? `Targets, part ${i + 1} of ${parts.length}` : ''),
    el('thead', {}, el('tr', {}, el('th', {}, 'from ↓  to →'), some.map((to) => el('th', {}, el('span', {}, name(to)))))),
    el('tbody', {}, rows.map((from) => el('tr', {}, el('th', {}, name(from)), some.map(cell(from)))))))];
};
const beforePrint = () => {
  if (printing) return;
  printing = true;
  drawLists();
  $('printed').replaceChildren(...printedGrid().flat());
};
const afterPrint = () => {
  if (!printing) return;
  printing = false;
  $('printed').replaceChildren();
  drawLists();
};
