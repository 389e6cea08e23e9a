// ---------------------------------------------------------------- lists: tables of which the first lines are shown

// What was opened stays so when the page is drawn anew; what is printed is whole.
const opened = new Set();
let printing = false;
const few = (n) => printing ? Infinity : n;

const table = (heads, rows) => el('div', { class: 'over' }, el('table', { class: 'list' },
  el('thead', {}, el('tr', {}, heads.map((h) => el('th', { scope: 'col' }, h)))), el('tbody', {}, rows)));
const row = (...cells) => el('tr', {}, cells.map((cell) => typeof cell === 'number' ? el('td', { class: 'num' }, number(cell)) : el('td', {}, cell)));
const nowrap = (text) => el('span', { class: 'nowrap' }, text);

// A section's content; what is the same as before is left alone, with its focus.
const fill = (id, ...content) => {
  const old = $(id).querySelector('.body'), next = el('div', { class: 'body', tabindex: '-1' }, content.flat(3));
  if (old.isEqualNode(next)) return;
  const held = old.contains(document.activeElement) && document.activeElement.dataset.key;
  old.replaceWith(next);
  const again = held && [...next.querySelectorAll('[data-key]')].find((node) => node.dataset.key === held);
  if (again) again.focus({ preventScroll: true });
};
// The first so many; a button shows all. `draw` draws the section anew.
const cut = (key, rows, most, make, what, draw) => {
  if (printing || opened.has(key) || rows.length <= most) return [make(rows)];
  const open = () => { opened.add(key); draw(); $(key).querySelector('.body').focus(); };
  return [make(rows.slice(0, most)), el('p', { class: 'more' }, el('button', { type: 'button', 'data-key': `all-${key}`, on: { click: open } }, `Show all ${plural(rows.length, ...what)}`))];
};
const fold = (key, title, content) => el('details', { class: 'alike', open: printing || opened.has(key), on: { toggle: (event) => {
  if (!printing) opened[event.target.open ? 'add' : 'delete'](key);
} } }, el('summary', { 'data-key': key }, title), content);

const drawDrift = () => {
  if (!D.drift) { $('drift').hidden = true; return; }
  const { differences, repaired, own_doing: own, unchecked } = D.drift;
  const line = (d) => row(el('div', {}, d.what, d.remedy && !d.repaired ? el('div', { class: 'soft' }, upper(d.remedy)) : null, el('div', { class: 'kind mono' }, d.kind)),
    (d.containers || []).join(', '), nowrap(when(d.since) || 'now'), d.by || 'the kernel does not tell', nowrap(d.repaired ? 'put right' : 'in force'));
  const part = (title, list, key) => list && list.length ? [title ? el('h3', {}, title) : null,
    cut(key, list, 20, (some) => table(['What', 'Containers', 'Since', 'By', 'State'], some.map(line)), ['line'], drawDrift)] : [];
  fill('drift', el('p', {}, differences.length ? `${plural(differences.length, 'difference')} between what should be and what the kernel has.` : 'None: the kernel has what it should have.'),
    part('', differences, 'drift'), part('Put right', repaired, 'drift-repaired'), part('What containers that may change their own network (NET_ADMIN) have changed there', own, 'drift-own'),
    unchecked && unchecked.length ? fold('drift-unchecked', `${plural(unchecked.length, 'thing')} not looked at, and why`, el('ul', {}, unchecked.map((what) => el('li', {}, what)))) : null);
};

const CAUSES = {
  icc: 'between containers, where no link opens it', lan: 'from the LAN or the outside straight to a container', host: 'from a container to the host',
  loopback: 'from a container to the host’s 127.0.0.0/8', 'spoofed-mac': 'with another’s MAC address', 'spoofed-ip': 'with another’s IP address',
  'spoofed-arp': 'ARP in another’s name', dhcp: 'DHCP answers from a container', ipv6: 'IPv6 from a container', ethertype: 'other types of frames, and VLAN tags',
  control: 'to the bridge’s control addresses',
};
const drawDenied = () => {
  if (!D.denied) { $('denied').hidden = true; return; }
  const causes = D.denied.causes.filter((c) => c.packets), most = Math.max(1, ...causes.map((c) => c.packets));
  const bars = causes.map((c) => {
    const bar = el('span', { class: 'bar', 'aria-hidden': 'true' });
    bar.style.width = `${Math.max(2, Math.round(160 * c.packets / most))}px`;
    return row(c.cause, CAUSES[c.cause] || '', c.packets, bar);
  });
  const entries = D.denied.entries.map((e) => () => row(nowrap(when(e.last)), e.cause, e.from, e.to, mono(e.what), e.count));
  fill('denied', el('p', { class: 'hint' }, D.denied.words), bars.length ? table(['Cause', 'What was denied', 'Packets', ''], bars) : null,
    entries.length ? [el('h3', {}, 'Who and what'),
      cut('denied', entries, 40, (list) => table(['Last seen', 'Cause', 'From', 'To', 'What', 'Packets'], list.map((make) => make())), ['line'], drawDenied)] : null);
};

const drawHistory = () => {
  if (!D.history) { $('history').hidden = true; return; }
  const line = (e) => row(e.seq, nowrap(when(e.time)), el('div', {}, e.changes.map((c) => el('div', {}, c))), e.request, e.by);
  const { entries, words, broken, left_out: left } = D.history;
  fill('history', el('p', { class: broken ? 'v bad' : 'hint' }, words),
    entries.length ? cut('history', entries, 40, (list) => table(['Entry', 'When', 'What changed', 'Request', 'Asked by'], list.map(line)), ['entry', 'entries'], drawHistory) : null,
    left ? el('p', { class: 'hint' }, `${plural(left, 'older entry is', 'older entries are')} not on this page: `, code('pontoon audit history')) : null);
};

const network = (party) => party.shares ? (party.kind === 'container' && party.mode !== 'host' ? `joined to ${party.shares}` : 'host') : party.mode || { host: 'this machine', lan: 'LAN', bridge: 'neighbours on the bridge', outside: 'beyond the default route' }[party.kind];
const drawParties = () => {
  const ports = (party) => party.ports.map((port) => {
    const range = port.ports.first === port.ports.last ? port.ports.first : `${port.ports.first}-${port.ports.last}`;
    const by = (port.listeners || []).map((l) => l.process && l.process[0]).find(Boolean);
    const what = [port.exposed && 'exposed', (port.published || []).length && 'published', (port.listeners || []).length && `listening${by ? ` (${by})` : ''}`];
    return `${range}/${port.ports.protocol} ${what.filter(Boolean).join(', ')}`;
  });
  const line = (party) => row(nowrap(party.name), network(party), mono(party.addresses.join(', ')), mono(listOf(ports(party), few(12)) || '–'),
    mono(Object.entries(party.labels || {}).map(([k, v]) => `${k}=${v}`).join(' ')));
  fill('parties', cut('parties', D.parties, 60, (list) => table(['Name', 'Network', 'Addresses', 'Ports that matter', 'Labels'], list.map(line)), ['party', 'parties'], drawParties));
};
