// ---------------------------------------------------------------- start: the page's head, and hands

const judgement = () => {
  const { flows, open, bad, probed } = total, who = probed ? 'Intent, kernel and packets' : 'Intent and kernel';
  const sent = probed ? ` Packets were sent for ${plural(probed, 'probed flow')}.` : '';
  const rest = open ? `; in ${number(open)} it cannot be said` : '';
  return `${who} ${bad ? `disagree in ${number(bad)} of ${plural(flows, 'flow')}` : `agree in ${open ? number(flows - open) : 'all'}${open ? ' of' : ''} ${plural(flows, 'flow')}`}${rest}.${sent}`;
};
const drawSummary = () => {
  const { flows, pass, open, bad } = total, drift = D.drift ? D.drift.differences.length : 0, broken = Boolean(D.history && D.history.broken);
  const says = [judgement(), drift && `${plural(drift, 'difference')} between what should be and what the kernel has (see Drift).`, broken && 'The chain of the history is broken.'];
  const title = bad ? '! Disagreement' : drift ? '! Drift' : broken ? '! Broken history' : open ? '? Open questions' : '✓ Agreement';
  const figure = (n, what, href) => el('div', { class: 'figure' }, el('b', {}, number(n)), el(href ? 'a' : 'span', { href, tabindex: href && '-1' }, what));
  $('summary').replaceChildren(
    el('div', { class: `figure verdict ${bad || drift || broken ? 'bad' : open ? 'open' : ''}` }, el('b', {}, title), el('span', {}, says.filter(Boolean).join(' '))),
    figure(D.parties.filter((p) => p.kind === 'container').length, 'containers'), figure(pass, 'flows pass'), figure(flows - pass - open, 'flows do not pass'),
    ...(open ? [figure(open, open === 1 ? 'flow cannot be judged' : 'flows cannot be judged')] : []), figure(D.findings.length, D.findings.length === 1 ? 'finding' : 'findings'));
};
const drawTaken = () => {
  $('taken').textContent = `The kernel’s rules were read at ${when(D.taken)} (ruleset generation ${D.generation}). ${D.bridge ? `Bridge ${D.bridge}; containers reach each other ${D.icc ? 'freely (--icc=true)' : 'only by links and published ports (--icc=false)'}.` : 'There is no bridge.'}`;
};
const drawHead = () => {
  $('host').textContent = D.host;
  drawTaken();
  $('legend').replaceChildren(...SIGNS.slice(0, 5).map(([cls, sign, what]) => el('li', {}, el('span', { class: `sign s-${cls}` }, sign), ` ${what}`)));
  for (const id of ['from', 'to']) {
    const kept = $(id).value, next = [el('option', { value: '' }, 'anyone'), ...D.parties.map((p) => el('option', { value: p.name }, p.name))];
    if (next.length === $(id).options.length && next.every((option, i) => option.value === $(id).options[i].value)) continue;
    $(id).replaceChildren(...next);
    $(id).value = partyNamed(kept) >= 0 ? kept : '';
  }
  const not = D.unmodelled.length ? ` Not looked at: ${D.unmodelled.join('; ')}.` : '';
  $('footer').textContent = `Made by pontoon audit; version ${D.version} of its data. The kernel’s verdict is computed from the rules, routes and bridge flags that were in force when they were read; a flow passes if its answer comes back, too. Connection attempts are counted since the last of the containers concerned started or, if that is later, since the firewall’s tables were last written anew. Times are UTC.${not}`;
};
const drawSections = () => {
  const counts = { findings: D.findings.length, drift: D.drift ? D.drift.differences.length : 0, matrix: plural(total.flows, 'flow'), flows: plural(total.pass, 'flow'), history: D.history ? D.history.entries.length : 0, parties: D.parties.length };
  const items = [...document.querySelectorAll('main > section')].filter((s) => !s.hidden).map((s) =>
    el('li', {}, el('a', { href: `#${s.id}` }, s.querySelector('h2').textContent), counts[s.id] === undefined ? null : el('span', { class: 'count' }, ` ${typeof counts[s.id] === 'number' ? number(counts[s.id]) : counts[s.id]}`)));
  const next = el('ul', { id: 'sections' }, items);
  if (!$('sections').isEqualNode(next)) $('sections').replaceWith(next);
};
const drawLists = () => { drawFindings(); drawDrift(); drawFlows(); drawTopology(); drawDenied(); drawHistory(); drawParties(); };
const draw = () => { drawHead(); drawSummary(); drawGrid(); drawLists(); drawSections(); };

const filtered = () => { $('gone').textContent = ''; drawGrid(); writeAddress(); };
$('filters').addEventListener('input', filtered);
$('filters').addEventListener('submit', (event) => event.preventDefault());
$('filters').addEventListener('reset', () => setTimeout(filtered));
grid.addEventListener('click', (event) => {
  const cell = event.target.closest('td[data-r]');
  if (!cell) return;
  goTo(Number(cell.dataset.r), Number(cell.dataset.c), true);
  openDetail(shown.rows[at[0]], shown.columns[at[1]], false);
});
grid.addEventListener('keydown', onGridKey);
grid.addEventListener('focusin', (event) => { if (event.target.dataset.r) onCellFocus(event.target); });
grid.addEventListener('mouseover', (event) => point(event.target.closest('td[data-r]')));
grid.addEventListener('mouseleave', () => point(null));
grid.addEventListener('focus', () => { if (!keeping) goTo(...at, true); });
let scrolling = 0;
const inSight = () => { scrolling = 0; render(false); frame(); };
scroller.addEventListener('scroll', () => { if (!scrolling) scrolling = requestAnimationFrame(inSight); });
addEventListener('resize', () => { measure(); grid.style.width = `${size.names + shown.columns.length * size.cell}px`; render(true); });
$('picture').addEventListener('click', onPicture);
$('close').addEventListener('click', () => closeDetail(true));
document.addEventListener('keydown', (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); $('q').focus(); }
  if (event.key === 'Escape' && !$('detail').hidden) closeDetail(true);
});
const isDark = () => document.documentElement.dataset.theme ? document.documentElement.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
const showTheme = () => { $('theme').setAttribute('aria-pressed', String(isDark())); drawPicture(); };
$('theme').addEventListener('click', () => { document.documentElement.dataset.theme = isDark() ? 'light' : 'dark'; showTheme(); });
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', showTheme);
addEventListener('beforeprint', beforePrint);
addEventListener('afterprint', afterPrint);
$('print').addEventListener('click', () => print());
addEventListener('hashchange', readAddress);

take(JSON.parse($('data').textContent));
draw();
showTheme();
readAddress();
if (document.documentElement.dataset.live !== undefined) beginLive();
