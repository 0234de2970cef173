// What can be taken away: mask, overlay, figures, and pre-annotations for labelling tools.

import {save} from './dom.js';
import {countValues} from './planes.js';
import {classTable} from './painting.js';

const stem = (name) => name.replace(/\.[a-z0-9]{1,5}$/i, '').replace(/[^\w.-]+/g, '_') || 'photo';

export function saveMask(name, png) {
  save(`${stem(name)}_mask.png`, png, 'image/png');
}

export async function saveOverlay(name, photo, plane, palette, opacity, hidden) {
  const canvas = new OffscreenCanvas(photo.width, photo.height);
  const context = canvas.getContext('2d');
  context.drawImage(photo.bitmap, 0, 0);
  const table = classTable(palette, {opacity, hidden, lit: null});
  const layer = new ImageData(plane.width, plane.height);
  const out = new Uint32Array(layer.data.buffer);
  plane.data.forEach((value, p) => {
    out[p] = table[value];
  });
  context.imageSmoothingEnabled = false;
  context.drawImage(await createImageBitmap(layer), 0, 0, photo.width, photo.height);
  save(`${stem(name)}_overlay.png`, await canvas.convertToBlob({type: 'image/png'}));
}

export function saveFigures(name, figures) {
  save(`${stem(name)}.json`, `${JSON.stringify(figures, null, 1)}\n`, 'application/json');
}

/** Where a class lies: {left, top, right, bottom}, the last two behind the last pixel; null nowhere. */
function boundsOf(plane, value) {
  let left = plane.width, top = plane.height, right = 0, bottom = 0;
  for (let y = 0, p = 0; y < plane.height; ++y) {
    for (let x = 0; x < plane.width; ++x, ++p) {
      if (plane.data[p] !== value) continue;
      if (x < left) left = x;
      if (x >= right) right = x + 1;
      if (y < top) top = y;
      bottom = y + 1;
    }
  }
  return right === 0 ? null : {left, top, right, bottom};
}

/** Run lengths of "is not", "is", "is not" ... as `next` gives the pixels. */
function runLengths(count, is) {
  const runs = [];
  let now = false, length = 0;
  for (let i = 0; i < count; ++i) {
    if (is(i) !== now) {
      runs.push(length);
      now = !now;
      length = 0;
    }
    ++length;
  }
  runs.push(length);
  return runs;
}

/** COCO (cocodataset.org, data format): a region a class, run lengths by columns. */
export function cocoOf(name, plane, classes) {
  const counts = countValues(plane);
  const annotations = classes.filter((c) => counts[c.id] > 0).map((c, i) => {
    const {left, top, right, bottom} = boundsOf(plane, c.id);
    const {width, height, data} = plane;
    const runs = runLengths(width * height, (n) => data[(n % height) * width + Math.floor(n / height)] === c.id);
    return {id: i + 1, image_id: 1, category_id: c.id + 1, iscrowd: 1, area: counts[c.id],
      bbox: [left, top, right - left, bottom - top], segmentation: {size: [height, width], counts: runs}};
  });
  return {images: [{id: 1, file_name: name, width: plane.width, height: plane.height}], annotations,
    categories: classes.map((c) => ({id: c.id + 1, name: c.name, supercategory: ''}))};
}

export function saveCoco(name, plane, classes) {
  save(`${stem(name)}_coco.json`, JSON.stringify(cocoOf(name, plane, classes)), 'application/json');
}

/** "CVAT for images 1.1": a mask a class, run lengths by rows within its box. */
export function cvatOf(name, plane, classes) {
  const page = document.implementation.createDocument(null, 'annotations');
  const add = (parent, tag, attributes = {}, text = '') => {
    const element = page.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    parent.append(element);
    return element;
  };
  add(page.documentElement, 'version', {}, '1.1');
  const image = add(page.documentElement, 'image', {id: 0, name, width: plane.width, height: plane.height});
  for (const c of classes) {
    const box = boundsOf(plane, c.id);
    if (!box) continue;
    const width = box.right - box.left, height = box.bottom - box.top;
    const runs = runLengths(width * height, (n) =>
      plane.data[(box.top + Math.floor(n / width)) * plane.width + box.left + (n % width)] === c.id);
    add(image, 'mask', {label: c.name, source: 'auto', occluded: 0, rle: runs.join(', '), left: box.left,
      top: box.top, width, height, z_order: 0});
  }
  return `<?xml version="1.0" encoding="utf-8"?>\n${new XMLSerializer().serializeToString(page)}\n`;
}

export function saveCvat(name, plane, classes) {
  save(`${stem(name)}_cvat.xml`, cvatOf(name, plane, classes), 'application/xml');
}
