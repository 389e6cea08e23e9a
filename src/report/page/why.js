// ---------------------------------------------------------------- why: one pair's details

const verdict = (words, v, extra) => el('dd', { class: `v ${v < 0 ? 'none' : words[v][2]} ${extra || ''}` },
  v < 0 ? '– not tried' : `${words[v][0]} ${words[v][1]}`);

const used = (flow, from, way) => {
  const n = flow[F.hits];
  if (n < 0) return null;
  const what = way.way === 'link' ? `from ${from}` : 'by this published port, from whomever';
  return el('p', { class: 'hint' }, n ? `${plural(n, 'connection attempt')} ${what} so far.` : `Never used: no connection attempt ${what} so far.`);
};
const oneFlow = (flow, from, to) => {
  const service = D.services[flow[F.service]], way = D.ways[flow[F.way]], bad = agrees(flow) ? '' : 'bad';
  const decider = flow[F.decider] >= 0 ? D.deciders[flow[F.decider]] : 'no rule: the kernel itself';
  const heard = ['Nobody listens there.', 'Somebody listens there.'][flow[F.listening]];
  return el('div', { class: 'way' },
    el('h4', {}, `${service} ${wayWords(way)}`),
    bad ? el('p', { class: 'v bad' }, '! The verdicts disagree.') : null,
    el('dl', { class: 'three' },
      el('dt', {}, 'Intent'), verdict(INTENT, flow[F.intent]), el('dd', { class: 'say' }, D.reasons[flow[F.reason]].words),
      el('dt', {}, 'Kernel'), verdict(VERDICT, flow[F.kernel], bad), el('dd', { class: 'say mono' }, decider),
      el('dt', {}, 'Packets'), verdict(VERDICT, flow[F.probe]), el('dd', { class: 'say' },
        flow[F.probe] < 0 ? 'no packet was sent (pontoon audit matrix --probe sends some)' : 'what a real packet did')),
    heard ? el('p', { class: 'hint' }, heard) : null,
    used(flow, from, way),
    el('p', {}, code(`pontoon audit why ${from} ${to} ${service}`)));
};
const sentence = (from, to, flows) => {
  const [a, b] = [name(from), name(to)];
  if (placeOf[from] === placeOf[to]) return `Both are in one network namespace: what one listens to, the other reaches by the loopback.`;
  if (!flows.length) return 'Nothing is exposed, published or listening there, so there is nothing to speak to.';
  const passing = flows.filter(passes), distinct = (list, of) => [...new Set(list.map(of))];
  const because = (list) => listOf(distinct(list, (flow) => D.reasons[flow[F.reason]].words), 3);
  if (passing.length) return `${a} can reach ${b} on ${listOf(distinct(passing, (flow) => D.services[flow[F.service]]), 8)}: ${because(passing)}.`;
  const bad = flows.filter((flow) => !agrees(flow));
  if (bad.length) return `${a} does not reach ${b} on ${listOf(distinct(bad, (flow) => D.services[flow[F.service]]), 8)}, and should: ${because(bad)}; but ${listOf(distinct(bad, (flow) => D.deciders[flow[F.decider]] || 'the kernel does not let it pass'), 3)}.`;
  if (flows.some((flow) => flow[F.kernel] === OPEN)) return `Whether ${a} reaches ${b} cannot be said.`;
  return `${a} cannot reach ${b}: ${because(flows)}.`;
};

const MOST_FLOWS = 60;
// focus: the details are what comes next for who opened them.
const openDetail = (from, to, focus) => {
  if (from === undefined || to === undefined || from === to) return;
  chosen = [from, to];
  const [a, b] = chosen.map(name), flows = flowsOf(from, to);
  const worst = [...flows].sort((x, y) => agrees(x) - agrees(y) || x[F.kernel] % 2 - y[F.kernel] % 2);
  const body = el('div', { id: 'detail-body' }, el('p', {}, sentence(from, to, flows)),
    worst.slice(0, MOST_FLOWS).map((flow) => oneFlow(flow, a, b)),
    flows.length > MOST_FLOWS ? el('p', { class: 'hint' }, `${plural(flows.length - MOST_FLOWS, 'more flow')}: `, code(`pontoon audit why ${a} ${b}`)) : null);
  const fresh = $('detail').hidden || $('detail-title').textContent !== `${a} → ${b}`;
  $('detail-title').textContent = `${a} → ${b}`;
  if (!$('detail-body').isEqualNode(body)) $('detail-body').replaceWith(body);
  $('detail-link').href = `#${fragment()}`;
  $('detail').hidden = false;
  aside();
  if (fresh) $('detail').scrollTop = 0;
  markChosen();
  if (focus) $('detail-title').focus();
  writeAddress();
};
const closeDetail = (focus) => {
  $('detail').hidden = true;
  chosen = null;
  aside();
  markChosen();
  writeAddress();
  if (focus) goTo(...at, true);
};
// Beside the grid: the details, or the picture.
const aside = () => {
  $('side').hidden = $('overview').hidden && $('detail').hidden;
  $('side').classList.toggle('open', !$('detail').hidden);
};
