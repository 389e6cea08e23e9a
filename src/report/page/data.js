// ---------------------------------------------------------------- data: who has which flows, and how they fare

// Fields of a flow.
const F = { service: 0, way: 1, intent: 2, kernel: 3, reason: 4, decider: 5, probe: 6, listening: 7, hits: 8 };
let D = null, placeOf = [], texts = [], total = {};

const name = (party) => D.parties[party].name;
const partyNamed = (wanted) => D.parties.findIndex((party) => party.name === wanted);
const isEcho = (flow) => D.services[flow[F.service]] === 'icmp';
const passes = (flow) => flow[F.kernel] === ALLOW;
const agrees = (flow) => {
  const said = [flow[F.intent], flow[F.kernel], flow[F.probe]].filter((v) => v === ALLOW || v === DENY);
  return said.every((v) => v === said[0]);
};

// Whose flows count for each party: of one that joined another, that one's; but within their namespace, its own.
const places = () => D.parties.map((_, p) => {
  for (let hops = 0; D.parties[p].shares && hops < 9; hops++) {
    const next = partyNamed(D.parties[p].shares);
    if (next < 0 || next === p) break;
    p = next;
  }
  return p;
});
const bundle = (from, to) => (D.pairs[from] || [])[to] || 0;
const bundleOf = (from, to) => from === to ? 0 : bundle(from, to) || bundle(placeOf[from], placeOf[to]);
const flowsOf = (from, to) => {
  const at = bundleOf(from, to);
  return at ? D.bundles[at - 1].map((i) => D.flows[i]) : [];
};
// Each flow once, however many joined it.
const eachFlow = (call) => D.pairs.forEach((row, from) => row.forEach((at, to) => {
  if (at) for (const i of D.bundles[at - 1]) call(from, to, D.flows[i]);
}));

// What counts is ports; echo requests count where there are no ports.
const stateOf = (flows) => {
  if (!flows.length) return FARES.none;
  if (!flows.every(agrees)) return FARES.bad;
  const ports = flows.filter((flow) => !isEcho(flow)), which = ports.length ? ports : flows;
  if (which.some((flow) => flow[F.kernel] === OPEN)) return FARES.unknown;
  const services = new Set(which.map((flow) => flow[F.service]));
  const passing = new Set(which.filter(passes).map((flow) => flow[F.service]));
  if (!passing.size) return FARES.deny;
  return passing.size === services.size ? FARES.allow : FARES.part;
};

const take = (data) => {
  D = data;
  placeOf = places();
  texts = D.parties.map((party) => [party.name, party.id || '', party.mode || '', ...party.addresses,
    ...Object.entries(party.labels || {}).map(([k, v]) => `${k}=${v}`),
    ...party.ports.flatMap((port) => (port.listeners || []).map((l) => l.process ? l.process[0] : ''))]
    .join('\n').toLowerCase());
  total = { flows: 0, pass: 0, open: 0, bad: 0, probed: 0 };
  const each = D.bundles.map((those) => those.map((i) => D.flows[i])).map((flows) => ({
    flows: flows.length, pass: flows.filter(passes).length, open: flows.filter((flow) => flow[F.kernel] === OPEN).length,
    bad: flows.filter((flow) => !agrees(flow)).length, probed: flows.filter((flow) => flow[F.probe] >= 0).length,
  }));
  for (const row of D.pairs) for (const at of row) if (at) for (const what of Object.keys(total)) total[what] += each[at - 1][what];
};
