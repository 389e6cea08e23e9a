// ---------------------------------------------------------------- live: a served page asks for what has changed; a file has nobody to ask

const AT_LEAST = 3000;
let tag = '', timer = 0, asking = false;

// Parties are known by their names: their places may be others'.
const takeAnew = (data) => {
  const open = chosen && chosen.map(name), sight = [scroller.scrollLeft, scroller.scrollTop];
  take(data);
  const pair = open && open.map(partyNamed);
  chosen = pair && pair.every((p) => p >= 0) ? pair : null;
  draw();
  [scroller.scrollLeft, scroller.scrollTop] = sight;
  render(false);
  if (chosen) openDetail(...chosen, false);
  else if (open) closeDetail($('detail').contains(document.activeElement));
};
const say = (words, title) => {
  $('live').textContent = words;
  $('live').title = title;
};
const refresh = async () => {
  if (asking) return;
  asking = true;
  const began = performance.now();
  try {
    const answer = await fetch('report.json', { headers: tag ? { 'If-None-Match': tag } : {} });
    if (answer.status !== 200 && answer.status !== 304) throw new Error(answer.statusText);
    if (answer.status === 200) {
      tag = answer.headers.get('ETag');
      takeAnew(await answer.json());
    }
    D.taken = answer.headers.get('X-Taken') || D.taken;
    drawTaken();
    say('Live', 'This page asks its server for what has changed. Press to stop.');
  } catch { say('No answer', `The server does not answer; what is shown is of ${when(D.taken)}. It is asked again.`); }
  asking = false;
  // A slow machine is not asked more often than it can well answer, and nobody asks for a page that nobody sees.
  later(Math.max(AT_LEAST, 4 * (performance.now() - began)));
};
const isLive = () => document.documentElement.dataset.live !== undefined && $('live').getAttribute('aria-pressed') === 'true';
const later = (pause) => {
  clearTimeout(timer);
  if (isLive() && !document.hidden) timer = setTimeout(refresh, pause);
};
const beginLive = () => {
  $('live').hidden = false;
  $('live').addEventListener('click', () => {
    const on = !isLive();
    $('live').setAttribute('aria-pressed', String(on));
    if (on) refresh(); else { clearTimeout(timer); say('Stopped', `What is shown is of ${when(D.taken)}. Press to go on.`); }
  });
  document.addEventListener('visibilitychange', () => { if (document.hidden) clearTimeout(timer); else if (isLive()) refresh(); });
  later(AT_LEAST);
};
