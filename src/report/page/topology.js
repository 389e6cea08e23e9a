// ---------------------------------------------------------------- topology: links and published ports as drawings

const LINE = 24, WIDTH = 860, LEFT = 330, RIGHT = 560, A_DRAWING = 24;

const edges = () => {
  const list = [], seen = new Set();
  eachFlow((from, to, flow) => {
    const way = D.ways[flow[F.way]], sound = agrees(flow);
    if (!passes(flow) && sound) return;
    const outside = ['lan', 'bridge', 'outside'].includes(D.parties[from].kind);
    if (way.way !== 'link' && !(outside && ['publish', 'hairpin'].includes(way.way)) && sound) return;
    const key = [way.way === 'publish' ? '' : from, to, way.way, way.host || '', D.services[flow[F.service]]].join();
    if (seen.has(key)) return;
    seen.add(key);
    list.push({ from, to, flow, way, outside });
  });
  return list;
};
// Containers that links join stand together; a drawing has whole groups, as many as it can bear.
const drawings = (places, list) => {
  const root = new Map(places.map((p) => [p, p]));
  const find = (p) => { while (root.get(p) !== p) p = root.get(p); return p; };
  for (const { from, to } of list) if (root.has(from) && root.has(to)) root.set(find(from), find(to));
  const groups = new Map();
  for (const p of places) groups.set(find(p), [...(groups.get(find(p)) || []), p]);
  const parts = [];
  for (const group of groups.values()) {
    const last = parts[parts.length - 1];
    if (last && last.length + group.length <= A_DRAWING) last.push(...group); else parts.push([...group]);
  }
  return parts;
};
const drawing = (some, list) => {
  const y = new Map(some.map((p, i) => [p, 60 + i * LINE])), height = Math.max(110, 70 + some.length * LINE);
  const text = (x, yy, words, more) => svg('text', { x, y: yy, ...more }, words);
  const box = (x, width) => svg('rect', { class: 'box', x, y: 10, width, height: height - 20, rx: 6 });
  const node = (p) => {
    const party = D.parties[p], words = party.name.length > 22 ? `${party.name.slice(0, 21)}…` : party.name;
    return [svg('rect', { class: 'node', x: LEFT, y: y.get(p) - 9, width: RIGHT - LEFT, height: 18, rx: 4 }), text(LEFT + 8, y.get(p) + 4, words, {}),
      text(RIGHT - 8, y.get(p) + 4, party.shares ? `= ${party.shares}`.slice(0, 18) : party.addresses[0] || party.mode || '', { 'text-anchor': 'end', class: 'soft' })];
  };
  let arcs = 0;
  const edge = ({ from: who, to: whom, flow, way, outside }) => {
    const to = y.get(whom), from = y.get(who), sound = agrees(flow), bad = sound ? '' : ' bad', service = D.services[flow[F.service]];
    if (to === undefined) return null;
    const label = svg('title', {}, `${name(who)} → ${name(whom)} ${service} ${wayWords(way)}${sound ? '' : ': the verdicts disagree'}`);
    if (outside || from === undefined) {
      return [svg('path', { class: `edge${bad}`, d: `M120 ${to}H${LEFT}`, 'marker-end': 'url(#head)' }, label), text(222, to - 4, `${sound ? '' : '! '}${way.host ? way.host[1] : ''}`, { class: 'soft' })];
    }
    const bend = RIGHT + 30 + Math.min(200, 14 * (arcs++ % 12) + Math.abs(to - from) / 3);
    return [svg('path', { class: `edge link${bad}`, d: `M${RIGHT} ${from}C${bend} ${from} ${bend} ${to} ${RIGHT} ${to}`, 'marker-end': 'url(#head)' }, label),
      text(Math.min(WIDTH - 90, RIGHT + (bend - RIGHT) * 0.75 + 4), (from + to) / 2 + 4, `${sound ? '' : '! '}${way.alias || ''} ${service}`, { class: 'soft' })];
  };
  const head = svg('defs', {}, svg('marker', { id: 'head', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 10, markerHeight: 10, markerUnits: 'userSpaceOnUse', orient: 'auto' }, svg('path', { d: 'M0 0L8 4L0 8z', class: 'arrow' })));
  return svg('svg', { viewBox: `0 0 ${WIDTH} ${height}`, width: WIDTH, height, role: 'img', 'aria-label': `Published ports and links of ${some.map(name).join(', ')}` },
    head, box(10, 110), text(65, 32, 'LAN, outside', { 'text-anchor': 'middle' }), box(215, WIDTH - 225), text(225, 32, `${D.host}${D.bridge ? ` · ${D.bridge}` : ''}`, { class: 'soft' }),
    some.map(node), list.map(edge));
};
const drawTopology = () => {
  const places = D.parties.flatMap((party, i) => party.kind === 'container' ? [i] : []), list = edges();
  const touched = new Set(list.flatMap(({ from, to }) => [from, to]));
  const drawn = places.length <= 40 ? places : places.filter((p) => touched.has(p)), left = places.length - drawn.length;
  const make = (some) => some.map((part) => el('div', { class: 'over drawing' }, drawing(part, list)));
  $('topology-hint').textContent = `Arrows from the left are published ports, dashed arcs are links. ${D.icc ? 'All containers on the bridge reach each other besides (--icc=true).' : 'Containers reach each other by links and published ports only (--icc=false).'}${left ? ` ${plural(left, 'container')} without either ${left === 1 ? 'is' : 'are'} not drawn.` : ''}`;
  fill('topology', drawn.length ? cut('topology', drawings(drawn, list), 2, make, ['drawing'], drawTopology) : el('p', {}, places.length ? 'No links, no published ports.' : 'No container runs.'));
};
