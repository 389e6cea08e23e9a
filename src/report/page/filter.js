// ---------------------------------------------------------------- filter: which pairs of parties are shown

// Rows and columns are parties; fares(from, to) is -1 where a pair is left out.
let shown = { rows: [], columns: [], fares: () => -1, flows: 0, left: 0, narrow: false };
const MANY = 60;

const asked = () => {
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
const SHOWS = {
  all: () => true, allowed: passes, heard: (flow) => passes(flow) && flow[F.listening] === 1,
  unknown: (flow) => flow[F.kernel] === OPEN, disagree: (flow) => !agrees(flow),
};

// Flows are looked at once for each kind of pair, of which there are few; pairs only by their numbers.
const select = () => {
  const f = asked(), n = D.parties.length, of = SHOWS[f.show];
  const services = D.services.map((s) => !f.services.length || f.services.some((wanted) => serviceMatches(wanted, s)));
  const kept = D.bundles.map((those) => those.map((i) => D.flows[i]).filter((flow) => of(flow) && services[flow[F.service]]));
  const counts = [0, ...kept.map((flows) => flows.length)], states = [FARES.none, ...kept.map(stateOf)];
  const named = texts.map((text) => f.words.every((word) => text.includes(word)));
  const narrow = f.words.length + f.services.length > 0 || f.show !== 'all' || Boolean(f.from || f.to);
  // Of many, who was looked for is shown with whom it has to do: what does not pass, and should not, is left out.
  const brief = n > MANY && f.words.length > 0;
  const fares = new Int8Array(n * n).fill(-1), counted = new Uint8Array(n * n), rows = new Set(), columns = new Set();
  let flows = 0, left = 0;
  for (let from = 0; from < n; from++) {
    if (f.from && name(from) !== f.from) continue;
    for (let to = 0; to < n; to++) {
      if (from === to || (f.to && name(to) !== f.to) || (!named[from] && !named[to])) continue;
      const at = bundleOf(from, to);
      if (narrow && !counts[at]) continue;
      if (brief && !(named[from] && named[to]) && (states[at] === FARES.deny || states[at] === FARES.none)) { left += 1; continue; }
      fares[from * n + to] = states[at];
      rows.add(from); columns.add(to);
      const own = bundle(from, to) ? from * n + to : placeOf[from] * n + placeOf[to];
      if (!counted[own]) { counted[own] = 1; flows += counts[at]; }
    }
  }
  const order = (set) => [...set].sort((a, b) => a - b);
  shown = { rows: order(rows), columns: order(columns), fares: (from, to) => fares[from * n + to], flows, left, narrow };
};
const shownWords = () => {
  const { rows, columns, flows, left, narrow } = shown;
  const axes = `from ${number(rows.length)} to ${number(columns.length)} of ${plural(D.parties.length, 'party', 'parties')}`;
  const first = narrow ? `${number(flows)} of ${plural(total.flows, 'flow')} shown, ${axes}.` : `All ${plural(total.flows, 'flow')} shown, ${axes}.`;
  return left ? `${first} ${plural(left, 'pair')} between which nothing passes ${left === 1 ? 'is' : 'are'} left out; choose From or To to see them.` : first;
};
