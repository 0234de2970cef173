// A plane in colors, at the resolution of the screen: what it costs depends on the screen and not on
// the photo, and edges are crisp at any zoom.

import {kRight, kUnlabelled} from './planes.js';

/** Colors for those who see red and green alike (Okabe and Ito 2008), then of other lightness. */
const kSafe = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#f0e442', '#000000',
  '#7fb8d8', '#f2cf7f', '#7fceb9', '#e5bcd3', '#003959', '#735000', '#004f39', '#6a2f00'];

export const hex = ([r, g, b]) => `#${[r, g, b].map((v) => v.toString(16).padStart(2, '0')).join('')}`;
const rgb = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));

/** The color of each class. */
export function paletteOf(classes, safe) {
  return classes.map((c, i) => (safe ? rgb(kSafe[i % kSafe.length]) : c.color));
}

const word = ([r, g, b], alpha) =>
  ((Math.round(255 * alpha) << 24) | (b << 16) | (g << 8) | r) >>> 0;  // little-endian RGBA

/** What each class looks like. `lit`: a class that the others step back for, or null. */
export function classTable(palette, {opacity, hidden, lit}) {
  const table = new Uint32Array(256);
  palette.forEach((color, c) => {
    if (hidden.has(c)) return;
    table[c] = word(color, opacity * (lit === null || lit === c ? 1 : 0.2));
  });
  return table;
}

/** Wrong pixels by their class in truth. */
export function errorTable(classes, {opacity, hidden, lit}) {
  const table = new Uint32Array(256);
  for (let c = 0; c < classes; ++c) {
    if (!hidden.has(c)) table[c] = word([214, 32, 80], opacity * (lit === null || lit === c ? 1 : 0.2));
  }
  table[kRight] = word([255, 255, 255], 0.25 * opacity);
  table[kUnlabelled] = word([90, 90, 90], 0.6 * opacity);
  return table;
}

/** Confidences up to `threshold`, the lowest the strongest: one hue, from pale to dark. */
export function confidenceTable(threshold, opacity) {
  const table = new Uint32Array(256);
  for (let v = 0; v <= threshold && v < 256; ++v) {
    const t = v / 255;
    table[v] = word([Math.round(70 + 185 * t), Math.round(10 + 230 * t), Math.round(110 + 100 * t)],
      opacity * (1 - 0.6 * t));
  }
  return table;
}

/** For each pixel of a row (or column) of the screen the plane's, or -1. */
function places(screen, scale, offset, photo, plane) {
  const map = new Int32Array(screen);
  for (let i = 0; i < screen; ++i) {
    const at = (i + 0.5 - offset) / scale;
    map[i] = at < 0 || at >= photo ? -1 : Math.floor((at * plane) / photo);
  }
  return map;
}

/** Paints into `image` (ImageData). `view`: {scale, left, top}, pixels of the screen per pixel of the
    photo, and where the photo's corner lies. `outline`: borders alone, so many pixels wide; 0: all. */
export function paint(image, plane, table, view, photo, outline = 0) {
  const {width, height} = image;
  const out = new Uint32Array(image.data.buffer);
  const columns = places(width, view.scale, view.left, photo.width, plane.width);
  const rows = places(height, view.scale, view.top, photo.height, plane.height);
  for (let y = 0, p = 0; y < height; ++y) {
    if (rows[y] < 0) {
      out.fill(0, p, p += width);
      continue;
    }
    const row = rows[y] * plane.width;
    if (outline === 0) {
      for (let x = 0; x < width; ++x, ++p) out[p] = columns[x] < 0 ? 0 : table[plane.data[row + columns[x]]];
      continue;
    }
    const below = rows[Math.min(y + outline, height - 1)], above = rows[Math.max(y - outline, 0)];
    const rowBelow = (below < 0 ? rows[y] : below) * plane.width;
    const rowAbove = (above < 0 ? rows[y] : above) * plane.width;
    for (let x = 0; x < width; ++x, ++p) {
      const column = columns[x];
      out[p] = 0;
      if (column < 0) continue;
      const value = plane.data[row + column];
      const right = columns[Math.min(x + outline, width - 1)], left = columns[Math.max(x - outline, 0)];
      if ((right >= 0 && plane.data[row + right] !== value) || (left >= 0 && plane.data[row + left] !== value) ||
          plane.data[rowBelow + column] !== value || plane.data[rowAbove + column] !== value) {
        out[p] = table[value];
      }
    }
  }
}
