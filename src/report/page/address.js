// ---------------------------------------------------------------- address: what is shown is in the page's address, to be sent on

const FIELDS = ['q', 'from', 'to', 'show'];
const fragment = () => {
  const state = new URLSearchParams();
  for (const field of FIELDS) if ($(field).value && $(field).value !== 'all') state.set(field, $(field).value);
  if (chosen) state.set('cell', chosen.map(name).join(' ')); // names have no spaces
  return state.toString();
};
const writeAddress = () => {
  const text = fragment(), now = location.hash.slice(1);
  if (text === now || (!text && !now.includes('='))) return;
  history.replaceState(null, '', text ? `#${text}` : location.pathname + location.search);
};
// An address without such a state (#findings, say) leaves what is shown.
const readAddress = () => {
  const text = location.hash.slice(1);
  if (!text.includes('=')) return;
  const state = new URLSearchParams(text), cell = (state.get('cell') || '').split(' ');
  const offered = (field, value) => $(field).tagName !== 'SELECT' || [...$(field).options].some((option) => option.value === value);
  const gone = [...['from', 'to'].map((field) => state.get(field)), ...cell].filter((who) => who && partyNamed(who) < 0);
  for (const field of FIELDS) {
    const value = state.get(field) || (field === 'show' ? 'all' : '');
    if (offered(field, value)) $(field).value = value;
  }
  drawGrid();
  const pair = cell.map(partyNamed);
  if (pair.length === 2 && pair.every((p) => p >= 0) && pair[0] !== pair[1]) {
    $('matrix').scrollIntoView({ behavior: 'instant' });
    goToPair(...pair, false);
    openDetail(...pair, true);
  } else if (chosen) closeDetail(false);
  $('gone').textContent = gone.length ? `The address of this page asks about ${listOf([...new Set(gone)].map((who) => `“${who}”`), 4)}: nobody of that name is here.` : '';
};
