// ---------------------------------------------------------------- flows: the matrix as a list of what passes

// Flows to one target that are alike are one line, and so are targets with the same sources. A published port is one way,
// by whichever of the host's addresses.
const passing = () => {
  const way = (flow) => /^(publish|hairpin)$/.test(D.ways[flow[F.way]].way) ? 'published port' : wayShort(D.ways[flow[F.way]]);
  const groups = new Map();
  eachFlow((from, to, flow) => {
    if (!passes(flow)) return;
    const key = [to, flow[F.service], way(flow), flow[F.reason], flow[F.intent], flow[F.probe]].join();
    const group = groups.get(key);
    if (group) group.sources.push(from); else groups.set(key, { flow, to, sources: [from] });
  });
  const bridged = new Set(D.parties.flatMap((p, i) => p.kind === 'container' && !p.shares && p.mode === 'bridge' ? [i] : []));
  const sources = ({ sources: list, to }) => {
    const containers = list.filter((s) => bridged.has(s)), others = list.filter((s) => !bridged.has(s)).map(name);
    const missing = [...bridged].filter((p) => p !== to && !list.includes(p));
    const all = bridged.has(to) ? 'every other container on the bridge' : 'every container on the bridge';
    const who = containers.length > 3 && missing.length < 4 ? [missing.length ? `${all} but ${missing.map(name).join(' and ')}` : all]
      : containers.length ? [listOf(containers.map(name), few(8))] : [];
    return [...who, ...others].join(', ');
  };
  const rank = ({ flow }) => ({ link: 1, publish: 2, hairpin: 2, shared: 3 })[D.ways[flow[F.way]].way] || 9;
  const lines = new Map();
  for (const group of [...groups.values()].sort((a, b) => rank(a) - rank(b) || a.to - b.to || a.flow[F.service] - b.flow[F.service])) {
    const { flow, to } = group, from = sources(group);
    const key = [from, flow[F.service], way(flow), flow[F.reason], flow[F.intent], flow[F.probe]].join();
    const line = lines.get(key);
    if (line) line.targets.push(name(to)); else lines.set(key, { flow, from, way: way(flow), targets: [name(to)] });
  }
  return [...lines.values()];
};
const drawFlows = () => {
  const lines = passing();
  const line = ({ flow, from, way, targets }) => row(from, listOf(targets, few(8)), mono(D.services[flow[F.service]]),
    way, D.reasons[flow[F.reason]].words,
    el('span', { class: `v ${agrees(flow) ? 'allow' : 'bad'}` }, agrees(flow) ? '● agree' : '! disagree'));
  const make = (list) => table(['From', 'To', 'Service', 'Way', 'Because', 'Verdicts'], list.map(line));
  fill('flows', lines.length ? cut('flows', lines, 60, make, ['line'], drawFlows) : el('p', {}, 'Nothing passes.'));
};
