// ---------------------------------------------------------------- findings: what an operator should know first

// Those of one kind and severity stand together; where there are many, the first of them speaks for the others.
const drawFindings = () => {
  const severities = ['high', 'medium', 'low'];
  const matters = (f) => /^(passes|blocked|kernel)-/.test(f.kind) ? 0 : 1; // what is, before what could be narrower
  const groups = new Map();
  for (const f of D.findings) {
    const key = `${f.severity} ${f.kind}`;
    if (groups.has(key)) groups.get(key).push(f); else groups.set(key, [f]);
  }
  const order = [...groups.values()].sort(([a], [b]) => severities.indexOf(a.severity) - severities.indexOf(b.severity) || matters(a) - matters(b));
  const one = (f) => el('article', { class: `finding ${f.severity}` },
    el('div', {}, el('span', { class: 'tag' }, f.severity), f.what, '.'),
    f.remedy ? el('div', { class: 'remedy' }, ...marked(f.remedy)) : null,
    el('div', { class: 'kind mono' }, f.kind));
  const group = (list) => list.length <= 3 ? list.map(one) : [one(list[0]),
    fold(`${list[0].severity} ${list[0].kind}`, `${plural(list.length - 1, 'more finding')} of the kind ${list[0].kind}`, list.slice(1).map(one))];
  fill('findings', order.length ? order.map(group) : el('p', {}, 'None. Wherever intent and kernel (and packets, where some were sent) say something, they say the same.'));
};
// `a command` in a sentence.
const marked = (text) => text.split('`').map((part, i) => i % 2 ? code(part) : part);
