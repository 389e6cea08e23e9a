// ---------------------------------------------------------------- picture: a large matrix at a glance

// A dot a pair, in the colours of the signs; what disagrees or is unknown is drawn larger, to be seen among thousands.
const drawPicture = () => {
  const { rows, columns } = shown, large = rows.length > 40 || columns.length > 40;
  $('overview').hidden = !large;
  aside();
  if (!large) return;
  const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
  const plain = [colour('--allow'), colour('--part'), colour('--line')], marks = { [FARES.unknown]: [colour('--unknown'), 1], [FARES.bad]: [colour('--bad'), 2] };
  const canvas = $('picture'), pen = canvas.getContext('2d'), most = Math.max(rows.length, columns.length);
  canvas.width = columns.length;
  canvas.height = rows.length;
  $('dots').style.width = `${Math.round(100 * columns.length / most)}%`;
  const marked = [];
  rows.forEach((from, r) => columns.forEach((to, c) => {
    const state = from === to ? -1 : shown.fares(from, to);
    if (marks[state]) marked.push([state, r, c]);
    if (!plain[state]) return;
    pen.fillStyle = plain[state];
    pen.fillRect(c, r, 1, 1);
  }));
  for (const [state, r, c] of marked.sort((a, b) => a[0] - b[0])) {
    const [ink, wide] = marks[state], around = most > 80 ? wide : 0;
    pen.fillStyle = ink;
    pen.fillRect(c - around, r - around, 2 * around + 1, 2 * around + 1);
  }
  frame();
};
// What part of it the grid shows.
const frame = () => {
  if ($('overview').hidden) return;
  const part = (from, seen, all) => [100 * Math.min(1, from / all), 100 * Math.min(1, seen / all)];
  const [x, wide] = part(scroller.scrollLeft / size.cell, (scroller.clientWidth - size.names) / size.cell, shown.columns.length);
  const [y, high] = part(scroller.scrollTop / size.row, (scroller.clientHeight - size.head) / size.row, shown.rows.length);
  Object.assign($('frame').style, { left: `${x}%`, top: `${y}%`, width: `${Math.min(wide, 100 - x)}%`, height: `${Math.min(high, 100 - y)}%` });
};
const onPicture = (event) => {
  const box = $('picture').getBoundingClientRect();
  goTo(Math.floor((event.clientY - box.top) / box.height * shown.rows.length), Math.floor((event.clientX - box.left) / box.width * shown.columns.length), false);
};
