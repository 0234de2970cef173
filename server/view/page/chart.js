// Curves of several runs on one pair of axes.

const kSvg = 'http://www.w3.org/2000/svg';
const kWidth = 760, kHeight = 300, kLeft = 56, kRight = 12, kTop = 12, kBottom = 34;

function shape(tag, attributes, ...children) {
  const element = document.createElementNS(kSvg, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Round numbers from about `low` to `high`, about `count` of them. */
export function ticks(low, high, count = 5) {
  if (!(high > low)) return [low];
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((s) => s * power >= 0.75 * raw) * power;
  const list = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) list.push(Number(v.toPrecision(12)));
  return list;
}

/** `curves`: [{name, color, dash, points: [[x, y]]}]; `label` names the picture, `read` is told the
    points at an epoch: [{name, color, x, y}], or nothing when the pointer leaves. */
export function chart(label, curves, read) {
  const points = curves.flatMap((c) => c.points);
  const svg = shape('svg', {viewBox: `0 0 ${kWidth} ${kHeight}`, role: 'img', 'aria-label': label, class: 'chart'});
  if (points.length === 0) {
    svg.append(shape('text', {x: kWidth / 2, y: kHeight / 2, 'text-anchor': 'middle'}, 'no values'));
    return svg;
  }
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  const [left, right] = [Math.min(...xs), Math.max(...xs, Math.min(...xs) + 1)];
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const margin = (high - low || Math.abs(high) || 1) * 0.05;
  const x = (v) => kLeft + ((v - left) / (right - left)) * (kWidth - kLeft - kRight);
  const y = (v) => kHeight - kBottom - ((v - low + margin) / (high - low + 2 * margin)) * (kHeight - kTop - kBottom);
  for (const value of ticks(low - margin, high + margin)) {
    svg.append(shape('line', {x1: kLeft, x2: kWidth - kRight, y1: y(value), y2: y(value), class: 'rule'}),
      shape('text', {x: kLeft - 6, y: y(value) + 4, 'text-anchor': 'end'}, String(value)));
  }
  for (const value of ticks(left, right, 8).filter(Number.isInteger)) {
    svg.append(shape('text', {x: x(value), y: kHeight - kBottom + 18, 'text-anchor': 'middle'}, String(value)));
  }
  svg.append(shape('text', {x: (kLeft + kWidth - kRight) / 2, y: kHeight - 2, 'text-anchor': 'middle'}, 'epoch'));
  for (const {color, dash, points: line} of curves) {
    if (line.length === 1) svg.append(shape('circle', {cx: x(line[0][0]), cy: y(line[0][1]), r: 3, fill: color}));
    else svg.append(shape('polyline', {points: line.map(([a, b]) => `${x(a)},${y(b)}`).join(' '), fill: 'none', stroke: color,
      'stroke-width': 2, 'stroke-dasharray': dash ?? '', 'stroke-linejoin': 'round'}));
  }
  const mark = shape('line', {y1: kTop, y2: kHeight - kBottom, class: 'mark', visibility: 'hidden'});
  svg.append(mark);
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const at = left + ((((event.clientX - box.left) / box.width) * kWidth - kLeft) / (kWidth - kLeft - kRight)) * (right - left);
    const epoch = xs.reduce((best, v) => (Math.abs(v - at) < Math.abs(best - at) ? v : best), xs[0]);
    mark.setAttribute('x1', x(epoch));
    mark.setAttribute('x2', x(epoch));
    mark.setAttribute('visibility', 'visible');
    read(curves.flatMap(({name, color, points: line}) => line.filter(([v]) => v === epoch).map(([, value]) => ({name, color, x: epoch, y: value}))));
  });
  svg.addEventListener('pointerleave', () => {
    mark.setAttribute('visibility', 'hidden');
    read([]);
  });
  return svg;
}
