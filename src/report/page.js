'use strict';
const ALLOW = 0, DENY = 1, OPEN = 2; // verdicts; 2 is unknown (kernel, packets) or silent (intent)
const C = { from: 0, to: 1, service: 2, way: 3, intent: 4, kernel: 5, reason: 6, decider: 7, probe: 8, listening: 9 };
const $ = (id) => document.getElementById(id);
let D = JSON.parse($('data').textContent);
let pairs = new Map(), shown = { rows: [], columns: [], cells: 0 }, chosen = null, at = [0, 0];

// ---------------------------------------------------------------- words

const el = (tag, attributes, ...children) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === 'on') for (const [event, call] of Object.entries(value)) node.addEventListener(event, call);
    else node.setAttribute(key, value === true ? '' : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
};
const svg = (tag, attributes, ...children) => {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  for (const child of children.flat()) node.append(child);
  return node;
};
const code = (text) => el('code', {}, text);
const plural = (n, one, many) => `${n.toLocaleString('en')} ${n === 1 ? one : many || one + 's'}`;
const name = (p) => D.parties[p].name;
const when = (text) => (text || '').replace('T', ' ').replace(/(\.\d+)?Z$/, ' UTC');
const listOf = (names, most) => names.length <= most ? names.join(', ')
  : `${names.slice(0, most).join(', ')} and ${names.length - most} more`;

const SIGNS = [
  ['allow', '●', 'all of its services pass'], ['part', '◐', 'some pass'], ['deny', '·', 'none passes'],
  ['unknown', '?', 'cannot be said'], ['bad', '!', 'the verdicts disagree'], ['none', '', 'nothing to speak to'],
];
const VERDICT = [['●', 'passes', 'allow'], ['✕', 'does not pass', 'deny'], ['?', 'unknown', 'unknown']];
const INTENT = [['●', 'should pass', 'allow'], ['✕', 'should not pass', 'deny'], ['–', 'says nothing', 'none']];

const wayWords = (way) => {
  switch (way.way) {
    case 'link': return `by the link “${way.alias}”`;
    case 'publish': return `by the published port ${way.host[0]}:${way.host[1]}`;
    case 'hairpin': return `by the published port ${way.host[0]}:${way.host[1]}, from inside`;
    case 'shared': return 'within one network namespace';
    default: return 'directly';
  }
};
const wayShort = (way) => ({ link: `link ${way.alias}`, publish: way.host && `${way.host[0]}:${way.host[1]}`,
  hairpin: way.host && `${way.host[0]}:${way.host[1]} (hairpin)`, shared: 'shared', direct: 'direct' })[way.way];

// ---------------------------------------------------------------- data

const place = (p) => { // whose cells count for this party
  for (let hops = 0; D.parties[p].shares && hops < 9; hops++) {
    const next = D.parties.findIndex((other) => other.name === D.parties[p].shares);
    if (next < 0 || next === p) break;
    p = next;
  }
  return p;
};
const agrees = (cell) => {
  const said = [cell[C.intent], cell[C.kernel], cell[C.probe]].filter((v) => v === ALLOW || v === DENY);
  return said.every((v) => v === said[0]);
};
const cellsOf = (from, to) => pairs.get(placeOf[from] * D.parties.length + placeOf[to]) || [];
let placeOf = [];

const index = () => {
  pairs = new Map();
  placeOf = D.parties.map((_, p) => place(p));
  D.cells.forEach((cell, i) => {
    const key = cell[C.from] * D.parties.length + cell[C.to];
    const list = pairs.get(key);
    if (list) list.push(i); else pairs.set(key, [i]);
  });
  D.matching = D.parties.map((party) => [party.name, party.id || '', party.mode || '', ...party.addresses,
    ...Object.entries(party.labels || {}).map(([k, v]) => `${k}=${v}`),
    ...party.ports.flatMap((port) => (port.listeners || []).map((l) => l.process ? l.process[0] : ''))]
    .join('\n').toLowerCase());
};

// What counts is ports; echo requests count where there are no ports.
const stateOf = (all) => {
  if (!all.length) return 5;
  if (all.some((i) => !agrees(D.cells[i]))) return 4;
  const ports = all.filter((i) => D.services[D.cells[i][C.service]] !== 'icmp'), cells = ports.length ? ports : all;
  if (cells.some((i) => D.cells[i][C.kernel] === OPEN)) return 3;
  const services = new Set(cells.map((i) => D.cells[i][C.service]));
  const passing = new Set(cells.filter((i) => D.cells[i][C.kernel] === ALLOW).map((i) => D.cells[i][C.service]));
  if (!passing.size) return 2;
  return passing.size === services.size ? 0 : 1;
};

// ---------------------------------------------------------------- filters

const filters = () => {
  const words = $('q').value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const isService = (word) => /^\d+(-\d+)?(\/(tcp|udp|sctp))?$/.test(word) || word === 'icmp';
  return { words: words.filter((w) => !isService(w)), services: words.filter(isService),
    from: $('from').value, to: $('to').value, show: $('show').value };
};
const portsOf = (service) => {
  const found = /^(\d+)(?:-(\d+))?(?:\/(\w+))?$/.exec(service);
  return found ? [Number(found[1]), Number(found[2] || found[1]), found[3]] : null;
};
const serviceMatches = (wanted, service) => {
  if (wanted === service) return true;
  const a = portsOf(wanted), b = portsOf(service);
  return Boolean(a && b && a[0] <= b[1] && b[0] <= a[1] && (!a[2] || a[2] === b[2]));
};
const cellWanted = (f, services) => {
  const of = {
    all: () => true, allowed: (c) => c[C.kernel] === ALLOW, heard: (c) => c[C.kernel] === ALLOW && c[C.listening] === 1,
    unknown: (c) => c[C.kernel] === OPEN, disagree: (c) => !agrees(c),
  }[f.show];
  return (i) => of(D.cells[i]) && services[D.cells[i][C.service]];
};

const select = () => {
  const f = filters();
  const named = D.matching.map((text) => f.words.every((word) => text.includes(word)));
  const services = D.services.map((s) => !f.services.length || f.services.some((wanted) => serviceMatches(wanted, s)));
  const wanted = cellWanted(f, services);
  const narrow = f.words.length + f.services.length > 0 || f.show !== 'all' || f.from || f.to;
  const large = D.parties.length > 60, rows = new Set(), columns = new Set(), visible = new Map();
  let left = 0;
  const count = new Set();
  for (let from = 0; from < D.parties.length; from++) {
    if (f.from && name(from) !== f.from) continue;
    for (let to = 0; to < D.parties.length; to++) {
      if (from === to || (f.to && name(to) !== f.to)) continue;
      if (!named[from] && !named[to]) continue;
      const cells = cellsOf(from, to).filter(wanted);
      if (!cells.length && narrow) continue;
      // Of many, who was looked for is shown with whom it has to do: what does not pass, and should not, is left out.
      if (large && f.words.length && !(named[from] && named[to]) && [2, 5].includes(stateOf(cells))) { left += 1; continue; }
      visible.set(from * D.parties.length + to, cells);
      rows.add(from); columns.add(to);
      for (const i of cells) count.add(i);
    }
  }
  const order = (set) => [...set].sort((a, b) => a - b);
  shown = { rows: order(rows), columns: order(columns), visible, cells: count.size, left };
};

// ---------------------------------------------------------------- the matrix

const describe = (from, to, cells, state) => {
  const passing = cells.filter((i) => D.cells[i][C.kernel] === ALLOW).map((i) => D.services[D.cells[i][C.service]]);
  const what = passing.length ? `passes: ${listOf([...new Set(passing)], 6)}` : SIGNS[state][2];
  return `${name(from)} to ${name(to)}: ${state === 4 ? 'the verdicts disagree; ' : ''}${what}`;
};

const drawGrid = () => {
  select();
  const { rows, columns, visible } = shown, n = D.parties.length;
  const head = ['<thead><tr role="row"><th class="corner" scope="col">from ↓ &nbsp; to →</th>'];
  const safe = (text) => text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);
  for (const to of columns) head.push(`<th scope="col" role="columnheader" title="${safe(name(to))}"><span>${safe(name(to))}</span></th>`);
  head.push('</tr></thead><tbody>');
  rows.forEach((from, r) => {
    head.push(`<tr role="row"><th scope="row" role="rowheader" title="${safe(name(from))}">${safe(name(from))}</th>`);
    columns.forEach((to, c) => {
      const cells = visible.get(from * n + to);
      if (from === to) { head.push('<td class="self" role="gridcell" aria-label="itself"></td>'); return; }
      if (!cells) { head.push(`<td role="gridcell" data-r="${r}" data-c="${c}" tabindex="-1"></td>`); return; }
      const state = stateOf(cells);
      head.push(`<td role="gridcell" class="s-${SIGNS[state][0]}" data-r="${r}" data-c="${c}" tabindex="-1" aria-label="${safe(describe(from, to, cells, state))}">${SIGNS[state][1]}</td>`);
    });
    head.push('</tr>');
  });
  head.push('</tbody>');
  const grid = $('grid');
  grid.innerHTML = rows.length ? head.join('') : '<tbody><tr><td class="self">Nothing matches. Clear the filter to see everything.</td></tr></tbody>';
  grid.classList.toggle('large', columns.length > 40);
  grid.setAttribute('aria-rowcount', rows.length + 1);
  grid.setAttribute('aria-colcount', columns.length + 1);
  at = [0, columns.findIndex((to) => to !== rows[0])];
  const first = cellAt(at[0], at[1]);
  if (first) first.tabIndex = 0;
  markChosen();
  drawPicture();
  $('shown').textContent = `${plural(shown.cells, 'flow')} shown: ${plural(rows.length, 'source')}, ${plural(columns.length, 'target')}.${shown.left ? ` ${plural(shown.left, 'pair')} between which nothing passes ${shown.left === 1 ? 'is' : 'are'} left out; choose From or To to see them.` : ''}`;
};
// Large matrices also as a picture: a square a pair, in the colours of the signs.
const drawPicture = () => {
  const { rows, columns, visible } = shown, n = D.parties.length, large = rows.length > 40 || columns.length > 40;
  $('overview').hidden = !large;
  if (!large) return;
  const size = Math.max(2, Math.min(6, Math.floor(420 / Math.max(rows.length, columns.length))));
  const canvas = $('picture'), style = getComputedStyle(document.documentElement), colour = (v) => style.getPropertyValue(v);
  const colours = [colour('--allow'), colour('--allow'), colour('--line'), colour('--unknown'), colour('--bad'), null];
  canvas.width = columns.length * size; canvas.height = rows.length * size;
  const pen = canvas.getContext('2d');
  rows.forEach((from, r) => columns.forEach((to, c) => {
    const cells = visible.get(from * n + to);
    if (!cells || !colours[stateOf(cells)]) return;
    const state = stateOf(cells), partly = state === 1 || state === 2;
    pen.fillStyle = colours[state];
    pen.fillRect(c * size, r * size, size - (partly && size > 2 ? 1 : 0), state === 1 ? size / 2 : size - (partly && size > 2 ? 1 : 0));
  }));
  canvas.onclick = (event) => {
    const box = canvas.getBoundingClientRect();
    focusCell(Math.floor((event.clientY - box.top) / box.height * rows.length), Math.floor((event.clientX - box.left) / box.width * columns.length));
  };
};
const cellAt = (r, c) => {
  const row = $('grid').tBodies[0] && $('grid').tBodies[0].rows[r];
  return row && row.cells[c + 1] && row.cells[c + 1].dataset.r !== undefined ? row.cells[c + 1] : null;
};
const focusCell = (r, c) => {
  const next = cellAt(r, c);
  if (!next) return false;
  const before = cellAt(...at);
  if (before) before.tabIndex = -1;
  at = [r, c];
  next.tabIndex = 0;
  next.focus();
  return true;
};
const step = (dr, dc) => { // past the diagonal, where there is no cell
  let [r, c] = at;
  for (let i = 0; i < 2; i++) { r += dr; c += dc; if (focusCell(r, c)) return; }
};
const onGridKey = (event) => {
  const last = [shown.rows.length - 1, shown.columns.length - 1];
  const moves = {
    ArrowUp: () => step(-1, 0), ArrowDown: () => step(1, 0), ArrowLeft: () => step(0, -1), ArrowRight: () => step(0, 1),
    Home: () => focusCell(at[0], 0) || focusCell(at[0], 1), End: () => focusCell(at[0], last[1]) || focusCell(at[0], last[1] - 1),
    PageUp: () => focusCell(Math.max(0, at[0] - 10), at[1]) || focusCell(0, at[1]),
    PageDown: () => focusCell(Math.min(last[0], at[0] + 10), at[1]) || focusCell(last[0], at[1]),
    Enter: () => choose(), ' ': () => choose(),
  };
  if (event.ctrlKey || event.altKey || event.metaKey || !moves[event.key]) return;
  event.preventDefault();
  moves[event.key]();
};
const choose = () => openDetail(shown.rows[at[0]], shown.columns[at[1]], true);
const markChosen = () => {
  for (const old of $('grid').querySelectorAll('[aria-selected]')) old.removeAttribute('aria-selected');
  if (!chosen) return;
  const r = shown.rows.indexOf(chosen[0]), c = shown.columns.indexOf(chosen[1]);
  const cell = r >= 0 && c >= 0 && cellAt(r, c);
  if (cell) cell.setAttribute('aria-selected', 'true');
};

// ---------------------------------------------------------------- one cell: why

const verdict = (words, v, extra) => el('dd', { class: `v ${v < 0 ? 'none' : words[v][2]} ${extra || ''}` },
  v < 0 ? '– not tried' : `${words[v][0]} ${words[v][1]}`);

const oneWay = (cell, from, to) => {
  const service = D.services[cell[C.service]], way = D.ways[cell[C.way]];
  const decider = cell[C.decider] >= 0 ? D.deciders[cell[C.decider]] : 'no rule: the kernel itself';
  const heard = ['nobody listens there', 'somebody listens there'][cell[C.listening]];
  const bad = agrees(cell) ? '' : 'bad';
  return el('div', { class: 'way' },
    el('h4', {}, `${service} ${wayWords(way)}`),
    bad ? el('p', { class: 'v bad' }, '! The verdicts disagree.') : null,
    el('dl', { class: 'three' },
      el('dt', {}, 'Intent'), verdict(INTENT, cell[C.intent]), el('dd', { class: 'say' }, D.reasons[cell[C.reason]].words),
      el('dt', {}, 'Kernel'), verdict(VERDICT, cell[C.kernel], bad), el('dd', { class: 'say mono' }, decider),
      el('dt', {}, 'Packets'), verdict(VERDICT, cell[C.probe]), el('dd', { class: 'say' },
        cell[C.probe] < 0 ? 'no packet was sent: pontoon audit probe does' : 'what a real packet did')),
    heard ? el('p', { class: 'hint' }, heard.replace(/^./, (c) => c.toUpperCase()), '.') : null,
    el('p', {}, code(`pontoon audit why ${from} ${to} ${service}`)));
};
const sentence = (from, to, cells) => {
  if (placeOf[from] === placeOf[to]) return `${from === to ? 'It is one party' : 'Both are in one network namespace'}: what one listens to, the other reaches by the loopback.`;
  if (!cells.length) return 'Nothing is exposed, published or listening there, so there is nothing to speak to.';
  const passing = cells.filter((i) => D.cells[i][C.kernel] === ALLOW);
  const services = [...new Set(passing.map((i) => D.services[D.cells[i][C.service]]))];
  const reasons = [...new Set(passing.map((i) => D.reasons[D.cells[i][C.reason]].words))];
  if (passing.length) return `${name(from)} can reach ${name(to)} on ${listOf(services, 8)}: ${listOf(reasons, 3)}.`;
  if (cells.some((i) => D.cells[i][C.kernel] === OPEN)) return `Whether ${name(from)} reaches ${name(to)} cannot be said.`;
  return `${name(from)} cannot reach ${name(to)}: ${listOf([...new Set(cells.map((i) => D.reasons[D.cells[i][C.reason]].words))], 3)}.`;
};
const openDetail = (from, to, focus) => {
  if (from === undefined || to === undefined || from === to) return;
  chosen = [from, to];
  const cells = cellsOf(from, to);
  $('detail-title').textContent = `${name(from)} → ${name(to)}`;
  const most = 60;
  $('detail-body').replaceChildren(el('p', {}, sentence(from, to, cells)),
    ...cells.slice(0, most).map((i) => oneWay(D.cells[i], name(from), name(to))),
    cells.length > most ? el('p', { class: 'hint' }, `${plural(cells.length - most, 'more flow')}: `, code(`pontoon audit why ${name(from)} ${name(to)}`)) : '');
  $('detail').hidden = false;
  $('detail').scrollTop = 0;
  markChosen();
  if (focus) $('detail-title').focus();
};
const closeDetail = () => {
  $('detail').hidden = true;
  chosen = null;
  markChosen();
  const back = cellAt(...at);
  if (back) back.focus();
};

// ---------------------------------------------------------------- lists

const table = (heads, rows) => el('div', { class: 'over' }, el('table', { class: 'list' },
  el('thead', {}, el('tr', {}, heads.map((h) => el('th', { scope: 'col' }, h)))), el('tbody', {}, rows)));
const row = (...cells) => el('tr', {}, cells.map((cell) => el('td', typeof cell === 'number' ? { class: 'num' } : {}, typeof cell === 'number' ? cell.toLocaleString('en') : cell)));
const fill = (id, ...content) => $(id).querySelector('.body').replaceChildren(...content.flat().filter((c) => c !== null));
const cut = (rows, most, make, what) => {
  const first = make(rows.slice(0, most));
  if (rows.length <= most) return [first];
  const more = el('p', { class: 'more' }, el('button', { type: 'button', on: { click: () => { first.replaceWith(make(rows)); more.remove(); } } }, `Show all ${plural(rows.length, what)}`));
  return [first, more];
};

// Findings of one kind and severity stand together; where there are many, the first of them speaks for the others.
const drawFindings = () => {
  const high = { high: 0, medium: 1, low: 2 };
  const verdicts = (f) => /^(passes|blocked|kernel)-/.test(f.kind) ? 0 : 1; // what is, before what could be narrower
  const groups = new Map();
  for (const f of D.findings) {
    const key = `${f.severity} ${f.kind}`;
    if (groups.has(key)) groups.get(key).push(f); else groups.set(key, [f]);
  }
  const order = [...groups.values()].sort(([a], [b]) => high[a.severity] - high[b.severity] || verdicts(a) - verdicts(b));
  const one = (f) => el('article', { class: `finding ${f.severity}` },
    el('div', {}, el('span', { class: 'tag' }, f.severity), f.what),
    f.remedy ? el('div', { class: 'remedy' }, f.remedy) : null,
    el('div', { class: 'kind mono' }, f.kind));
  const group = (list) => list.length <= 3 ? list.map(one) : [one(list[0]),
    el('details', { class: 'alike' }, el('summary', {}, `${plural(list.length - 1, 'more finding')} of the kind ${list[0].kind}`), list.slice(1).map(one))];
  fill('findings', order.length ? order.flatMap(group) : el('p', {}, 'None. Wherever intent and kernel (and packets, where some were sent) say something, they say the same.'));
};

const drawFlows = () => {
  const groups = new Map();
  D.cells.forEach((cell) => {
    if (cell[C.kernel] !== ALLOW) return;
    const key = [cell[C.to], cell[C.service], cell[C.way], cell[C.reason], cell[C.intent], cell[C.probe]].join();
    const group = groups.get(key);
    if (group) group.sources.push(cell[C.from]); else groups.set(key, { cell, sources: [cell[C.from]] });
  });
  const bridged = D.parties.map((p, i) => i).filter((i) => D.parties[i].kind === 'container' && !D.parties[i].shares && D.parties[i].mode === 'bridge');
  const sources = (group) => {
    const containers = group.sources.filter((s) => bridged.includes(s));
    const others = group.sources.filter((s) => !bridged.includes(s)).map(name);
    const all = containers.length > 3 && containers.length >= bridged.length - 1;
    return [...(all ? ['every other container'] : containers.length ? [listOf(containers.map(name), 8)] : []), ...others].join(', ');
  };
  const rank = (group) => ['link', 'publish', 'hairpin', 'shared'].indexOf(D.ways[group.cell[C.way]].way) + 1 || 9;
  const merged = new Map();
  for (const group of [...groups.values()].sort((a, b) => rank(a) - rank(b) || a.cell[C.to] - b.cell[C.to] || a.cell[C.service] - b.cell[C.service])) {
    const key = [sources(group), group.cell[C.service], wayShort(D.ways[group.cell[C.way]]), group.cell[C.reason], group.cell[C.intent], group.cell[C.probe]].join();
    if (merged.has(key)) merged.get(key).targets.push(name(group.cell[C.to])); else merged.set(key, { ...group, targets: [name(group.cell[C.to])] });
  }
  const rows = [...merged.values()];
  const line = (group) => row(sources(group), listOf(group.targets, 8), el('span', { class: 'mono' }, D.services[group.cell[C.service]]),
    wayShort(D.ways[group.cell[C.way]]), D.reasons[group.cell[C.reason]].words,
    el('span', { class: `v ${agrees(group.cell) ? 'allow' : 'bad'}` }, agrees(group.cell) ? '● agreed' : '! disagreed'));
  const make = (list) => table(['From', 'To', 'Service', 'Way', 'Because', 'Verdicts'], list.map(line));
  fill('flows', rows.length ? cut(rows, 60, make, 'line') : el('p', {}, 'Nothing passes.'));
};

const drawParties = () => {
  const ports = (party) => party.ports.map((port) => {
    const range = port.ports.first === port.ports.last ? port.ports.first : `${port.ports.first}-${port.ports.last}`;
    const what = [port.exposed && 'exposed', (port.published || []).length && 'published',
      (port.listeners || []).length && `listening${port.listeners[0].process ? ` (${port.listeners[0].process[0]})` : ''}`].filter(Boolean);
    return `${range}/${port.ports.protocol} ${what.join(', ')}`;
  });
  const line = (party) => row(party.name, party.shares ? `${party.mode || party.kind}, at the place of ${party.shares}` : party.mode || party.kind,
    el('span', { class: 'mono' }, party.addresses.join(', ')), el('span', { class: 'mono' }, listOf(ports(party), 12)));
  fill('parties', cut(D.parties, 60, (list) => table(['Name', 'Network', 'Addresses', 'Ports that matter'], list.map(line)), 'party'));
};

const drawDrift = () => {
  if (!D.drift) { $('drift').hidden = true; return; }
  const line = (d) => row(d.subject, d.what, (d.containers || []).join(', '), when(d.since) || 'now', d.by || 'the kernel does not tell', d.repaired ? 'put right' : 'in force');
  const heads = ['Of', 'What', 'Containers', 'Since', 'By', 'State'];
  const rows = [...D.drift.differences, ...D.drift.repaired];
  fill('drift', el('p', {}, D.drift.differences.length ? `${plural(D.drift.differences.length, 'difference')} between what should be and what is.` : 'None: the kernel holds what it should.'),
    rows.length ? cut(rows, 40, (list) => table(heads, list.map(line)), 'line') : null);
};

const drawDenied = () => {
  if (!D.denied) { $('denied').hidden = true; return; }
  const most = Math.max(1, ...D.denied.causes.map((c) => c.packets));
  const causes = D.denied.causes.map((c) => {
    const bar = el('span', { class: 'bar', 'aria-hidden': 'true' });
    bar.style.width = `${Math.max(c.packets ? 2 : 0, Math.round(160 * c.packets / most))}px`;
    return row(c.cause, c.packets, bar);
  });
  const entries = D.denied.entries.map((e) => row(when(e.last), e.cause, e.from, e.to, el('span', { class: 'mono' }, e.what), e.count));
  fill('denied', el('p', { class: 'hint' }, D.denied.words), table(['Cause', 'Packets', ''], causes),
    entries.length ? el('h3', {}, 'Who and what') : null,
    entries.length ? cut(entries, 40, (list) => table(['Last', 'Cause', 'From', 'To', 'What', 'Count'], list), 'line') : null);
};

const drawHistory = () => {
  if (!D.history) { $('history').hidden = true; return; }
  const lines = D.history.entries.map((e) => row(e.seq, when(e.time), el('div', {}, e.changes.map((c) => el('div', {}, c))), e.request, e.by));
  fill('history', el('p', { class: D.history.broken ? 'v bad' : 'hint' }, D.history.words),
    lines.length ? cut(lines, 40, (list) => table(['Entry', 'When', 'What changed', 'Request', 'Asked by'], list), 'entry') : null);
};

// ---------------------------------------------------------------- topology

const drawTopology = () => {
  const line = 24, places = D.parties.map((p, i) => i).filter((i) => D.parties[i].kind === 'container');
  const edges = [], seen = new Set();
  for (const cell of D.cells) {
    const way = D.ways[cell[C.way]];
    if (cell[C.kernel] !== ALLOW && agrees(cell)) continue;
    const outside = D.parties[cell[C.from]].kind === 'lan' || D.parties[cell[C.from]].kind === 'outside';
    if (way.way !== 'link' && !(way.way === 'publish' && outside) && agrees(cell)) continue;
    const key = [way.way === 'publish' ? '' : cell[C.from], cell[C.to], way.way, way.host || '', D.services[cell[C.service]]].join();
    if (seen.has(key)) continue;
    seen.add(key);
    edges.push({ cell, way, outside });
  }
  const touched = new Set(edges.flatMap((e) => [e.cell[C.from], e.cell[C.to]]));
  const few = places.length <= 40 ? places : places.filter((p) => touched.has(p)).slice(0, 80);
  const y = new Map(few.map((p, i) => [p, 60 + i * line]));
  const height = Math.max(150, 80 + few.length * line), width = 860, left = 330, right = 560;
  const drawing = svg('svg', { viewBox: `0 0 ${width} ${height}`, width, role: 'img', 'aria-label': 'Drawing: published ports from the left, containers on the bridge, links on the right' });
  drawing.append(svg('defs', {}, svg('marker', { id: 'head', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto' }, svg('path', { d: 'M0 0L8 4L0 8z', class: 'arrow' }))));
  const text = (x, yy, words, more) => svg('text', { x, y: yy, ...more }, document.createTextNode(words));
  drawing.append(svg('rect', { class: 'box', x: 10, y: 10, width: 110, height: height - 20, rx: 6 }), text(65, 32, 'LAN, outside', { 'text-anchor': 'middle' }));
  drawing.append(svg('rect', { class: 'box', x: 215, y: 10, width: width - 225, height: height - 20, rx: 6 }), text(225, 32, `${D.host}${D.bridge ? ` · ${D.bridge}` : ''}`, { class: 'soft' }));
  for (const p of few) {
    const party = D.parties[p], words = party.name.length > 22 ? `${party.name.slice(0, 21)}…` : party.name;
    drawing.append(svg('rect', { class: 'node', x: left, y: y.get(p) - 9, width: right - left, height: 18, rx: 4 }),
      text(left + 8, y.get(p) + 4, words, {}), text(right - 8, y.get(p) + 4, party.shares ? `= ${party.shares}` : party.addresses[0] || party.mode || '', { 'text-anchor': 'end', class: 'soft' }));
  }
  let arcs = 0;
  for (const { cell, way, outside } of edges) {
    const to = y.get(cell[C.to]), from = y.get(cell[C.from]), bad = agrees(cell) ? '' : ' bad';
    if (to === undefined) continue;
    const label = svg('title', {}, document.createTextNode(`${name(cell[C.from])} → ${name(cell[C.to])} ${D.services[cell[C.service]]} ${wayWords(way)}`));
    if (outside || from === undefined) {
      drawing.append(svg('path', { class: `edge${bad}`, d: `M120 ${to}H${left}`, 'marker-end': 'url(#head)' }, label));
      if (way.host) drawing.append(text(222, to - 4, `${way.host[1]}`, { class: 'soft' }));
      else drawing.append(text(140, to - 4, bad ? '!' : '', { class: 'soft' }));
    } else {
      const bend = right + 30 + Math.min(200, 14 * (arcs++ % 12) + Math.abs(to - from) / 3);
      drawing.append(svg('path', { class: `edge link${bad}`, d: `M${right} ${from}C${bend} ${from} ${bend} ${to} ${right} ${to}`, 'marker-end': 'url(#head)' }, label));
      drawing.append(text(Math.min(width - 90, right + (bend - right) * 0.75 + 4), (from + to) / 2 + 4, `${way.alias || ''} ${D.services[cell[C.service]]}`.trim(), { class: 'soft' }));
    }
  }
  const left_out = places.length - few.length;
  $('topology-hint').textContent = `Arrows from the left are published ports, dashed arcs are links. ${D.icc ? 'All bridged containers reach each other besides (--icc=true).' : 'Containers reach each other by links and published ports only (--icc=false).'}${left_out > 0 ? ` ${plural(left_out, 'container')} without either ${left_out === 1 ? 'is' : 'are'} not drawn.` : ''}`;
  fill('topology', places.length ? el('div', { class: 'over' }, drawing) : el('p', {}, 'No container runs.'));
};

// ---------------------------------------------------------------- the page

const flowsSay = (bad, open, three) => bad ? `${plural(bad, 'flow')} where the verdicts disagree`
  : open ? `${three} agree; ${plural(open, 'flow')} cannot be judged` : `${three} agree in all ${plural(D.cells.length, 'flow')}`;
const drawSummary = () => {
  const bad = D.cells.filter((c) => !agrees(c)).length, passing = D.cells.filter((c) => c[C.kernel] === ALLOW).length;
  const open = D.cells.filter((c) => c[C.kernel] === OPEN).length, probed = D.cells.filter((c) => c[C.probe] >= 0).length;
  const three = probed ? `Intent, kernel and ${plural(probed, 'probed flow')}` : 'Intent and kernel';
  const drift = D.drift ? D.drift.differences.length : 0, broken = Boolean(D.history && D.history.broken);
  const beside = [drift && plural(drift, 'difference') + ' between what should be and what is (see Drift)', broken && 'the chain of the history is broken'].filter(Boolean);
  const wrong = bad || beside.length;
  const says = [bad || !beside.length ? flowsSay(bad, open, three) : null, ...beside].filter(Boolean).join('; ');
  const title = bad ? '! Disagreement' : beside.length ? (drift ? '! Drift' : '! Broken history') : open ? '? Open questions' : '✓ Agreement';
  const figure = (n, what) => el('div', { class: 'figure' }, el('b', {}, n.toLocaleString('en')), el('span', {}, what));
  $('summary').replaceChildren(
    el('div', { class: `figure verdict ${wrong ? 'bad' : open ? 'open' : ''}` }, el('b', {}, title), el('span', {}, says)),
    figure(D.parties.filter((p) => p.kind === 'container').length, 'containers'), figure(passing, 'flows pass'),
    figure(D.cells.length - passing - open, 'flows do not'), figure(D.findings.length, D.findings.length === 1 ? 'finding' : 'findings'));
};
const drawHead = () => {
  $('host').textContent = D.host;
  $('taken').textContent = `Read from the kernel at ${when(D.taken)}, ruleset generation ${D.generation}${D.bridge ? `, bridge ${D.bridge}, icc ${D.icc ? 'on' : 'off'}` : ', no bridge'}.`;
  $('legend').replaceChildren(...SIGNS.slice(0, 5).map(([cls, sign, what]) => el('li', {}, el('span', { class: `sign s-${cls}` }, sign), ` ${what}`)));
  for (const id of ['from', 'to']) {
    const kept = $(id).value;
    $(id).replaceChildren(el('option', { value: '' }, 'anyone'), ...D.parties.map((p) => el('option', { value: p.name }, p.name)));
    $(id).value = D.parties.some((p) => p.name === kept) ? kept : '';
  }
  const not = D.unmodelled.length ? ` Not looked at: ${D.unmodelled.join('; ')}.` : '';
  $('footer').textContent = `Made by pontoon audit, version ${D.version} of its data.${not} The kernel's verdict is computed from the rules, routes and bridge flags that were in force at that moment; a flow passes if its answer comes back, too.`;
};
const drawSections = () => {
  const counts = { findings: D.findings.length, matrix: D.cells.length, parties: D.parties.length };
  $('sections').replaceChildren(...[...document.querySelectorAll('main > section')].filter((s) => !s.hidden).map((s) =>
    el('li', {}, el('a', { href: `#${s.id}` }, s.querySelector('h2').textContent), counts[s.id] === undefined ? null : el('span', { class: 'count' }, ` ${counts[s.id].toLocaleString('en')}`))));
};
const draw = () => {
  index();
  drawHead(); drawSummary(); drawFindings(); drawGrid(); drawFlows(); drawTopology(); drawDrift(); drawDenied(); drawHistory(); drawParties(); drawSections();
};

// ---------------------------------------------------------------- hands

let waiting = 0;
const later = () => { clearTimeout(waiting); waiting = setTimeout(drawGrid, D.parties.length > 60 ? 150 : 0); };
$('filters').addEventListener('input', later);
$('filters').addEventListener('submit', (event) => event.preventDefault());
$('filters').addEventListener('reset', () => setTimeout(drawGrid));
$('grid').addEventListener('click', (event) => {
  const cell = event.target.closest('td[data-r]');
  if (!cell) return;
  focusCell(Number(cell.dataset.r), Number(cell.dataset.c));
  openDetail(shown.rows[at[0]], shown.columns[at[1]], false);
});
$('grid').addEventListener('keydown', onGridKey);
$('close').addEventListener('click', closeDetail);
document.addEventListener('keydown', (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); $('q').focus(); }
  if (event.key === 'Escape' && !$('detail').hidden) closeDetail();
});
const dark = () => document.documentElement.dataset.theme ? document.documentElement.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
const showTheme = () => $('theme').setAttribute('aria-pressed', String(dark()));
$('theme').addEventListener('click', () => { document.documentElement.dataset.theme = dark() ? 'light' : 'dark'; showTheme(); drawPicture(); });
addEventListener('beforeprint', () => document.querySelectorAll('details').forEach((d) => { d.open = true; }));
$('print').addEventListener('click', () => print());

// Served live: the page asks for what has changed since; a file has nobody to ask.
const refresh = async () => {
  try {
    const answer = await fetch('report.json', { headers: { 'If-None-Match': refresh.tag || '' } });
    if (answer.status === 200) {
      refresh.tag = answer.headers.get('ETag');
      D = await answer.json();
      const [open, scroll] = [chosen && chosen.map(name), [$('scroll').scrollLeft, $('scroll').scrollTop]];
      draw();
      [$('scroll').scrollLeft, $('scroll').scrollTop] = scroll;
      const again = open && open.map((who) => D.parties.findIndex((p) => p.name === who));
      if (again && again.every((p) => p >= 0)) openDetail(again[0], again[1], false); else if (open) closeDetail();
    }
    $('live').textContent = `Live · ${new Date().toTimeString().slice(0, 8)}`;
  } catch { $('live').textContent = 'Not answering'; }
};
if (document.documentElement.dataset.live !== undefined) {
  $('live').hidden = false;
  let timer = setInterval(refresh, 3000);
  $('live').addEventListener('click', () => {
    const on = $('live').getAttribute('aria-pressed') === 'true';
    $('live').setAttribute('aria-pressed', String(!on));
    if (on) clearInterval(timer); else { refresh(); timer = setInterval(refresh, 3000); }
  });
}

showTheme();
draw();
