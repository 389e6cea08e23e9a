'use strict';
// ---------------------------------------------------------------- words: elements, numbers, signs and phrases

const $ = (id) => document.getElementById(id);
const give = (node, attributes, children) => {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === 'on') for (const [event, call] of Object.entries(value)) node.addEventListener(event, call);
    else node.setAttribute(key, value === true ? '' : value);
  }
  for (const child of children.flat(2)) if (child !== null && child !== undefined) node.append(child);
  return node;
};
const el = (tag, attributes, ...children) => give(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => give(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
const code = (text) => el('code', {}, text);
const mono = (text) => el('span', { class: 'mono' }, text);
const safe = (text) => text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);

const number = (n) => n.toLocaleString('en');
const plural = (n, one, many) => `${number(n)} ${n === 1 ? one : many || `${one}s`}`;
const when = (text) => (text || '').replace('T', ' ').replace(/(\.\d+)?Z$/, ' UTC');
const listOf = (names, most) => names.length <= most ? names.join(', ')
  : `${names.slice(0, most).join(', ')} and ${number(names.length - most)} more`;
const upper = (text) => text.replace(/^./, (c) => c.toUpperCase());

const ALLOW = 0, DENY = 1, OPEN = 2; // verdicts; 2 is unknown (kernel, packets) or silent (intent)
// How a pair of parties fares: class, sign, words.
const FARES = { allow: 0, part: 1, deny: 2, unknown: 3, bad: 4, none: 5 };
const SIGNS = [
  ['allow', '●', 'everything there passes'], ['part', '◐', 'some of it passes'], ['deny', '·', 'nothing passes'],
  ['unknown', '?', 'cannot be said'], ['bad', '!', 'the verdicts disagree'], ['none', '', 'nothing to speak to'],
];
const VERDICT = [['●', 'passes', 'allow'], ['✕', 'does not pass', 'deny'], ['?', 'unknown', 'unknown']];
const INTENT = [['●', 'should pass', 'allow'], ['✕', 'should not pass', 'deny'], ['–', 'says nothing', 'none']];

const wayWords = (way) => {
  const host = way.host ? `${way.host[0]}:${way.host[1]}` : '';
  return { link: `by the link “${way.alias}”`, publish: `by the published port ${host}`,
    hairpin: `by the published port ${host}, from inside`, shared: 'within one network namespace' }[way.way] || 'directly';
};
const wayShort = (way) => {
  const host = way.host ? `${way.host[0]}:${way.host[1]}` : '';
  return { link: `link ${way.alias}`, publish: `published at ${host}`, hairpin: `published at ${host}, from inside`,
    shared: 'loopback' }[way.way] || 'direct';
};
