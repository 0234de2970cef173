// Planes: a byte a pixel. PNGs are decoded here, because a canvas would give colors and no numbers.

/** Values of a plane that are no class. */
export const kUnlabelled = 255;

/** {width, height, data} of an 8-bit PNG of one channel: gray, or numbers of a palette. */
export async function decodePlane(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const signature = [0x89, 0x50, 0x4e, 0x47];
  if (bytes.length < 33 || signature.some((byte, i) => bytes[i] !== byte)) throw new Error('this is no PNG');
  let width = 0, height = 0;
  const packed = [];
  for (let at = 8; at + 12 <= bytes.length;) {
    const size = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === 'IHDR') {
      width = view.getUint32(at + 8);
      height = view.getUint32(at + 12);
      const [depth, color, , , interlaced] = bytes.subarray(at + 16, at + 21);
      if (depth !== 8 || (color !== 0 && color !== 3) || interlaced) throw new Error('a PNG of another kind');
    } else if (kind === 'IDAT') packed.push(bytes.subarray(at + 8, at + 8 + size));
    at += 12 + size;
  }
  const stream = new Blob(packed).stream().pipeThrough(new DecompressionStream('deflate'));
  const rows = new Uint8Array(await new Response(stream).arrayBuffer());
  if (rows.length < (width + 1) * height) throw new Error('a PNG that is cut short');
  return {width, height, data: unfilter(rows, width, height)};
}

function unfilter(rows, width, height) {
  const data = new Uint8Array(width * height);
  let above = new Uint8Array(width);
  for (let y = 0; y < height; ++y) {
    const filter = rows[y * (width + 1)];
    const from = rows.subarray(y * (width + 1) + 1, (y + 1) * (width + 1));
    const line = data.subarray(y * width, (y + 1) * width);
    if (filter === 0) line.set(from);
    else if (filter === 1) for (let x = 0, left = 0; x < width; ++x) line[x] = left = (from[x] + left) & 255;
    else if (filter === 2) for (let x = 0; x < width; ++x) line[x] = from[x] + above[x];
    else if (filter === 3) {
      for (let x = 0, left = 0; x < width; ++x) line[x] = left = (from[x] + ((left + above[x]) >> 1)) & 255;
    } else {
      for (let x = 0, left = 0, corner = 0; x < width; ++x) {
        const up = above[x];
        const p = left + up - corner;
        const a = Math.abs(p - left), b = Math.abs(p - up), c = Math.abs(p - corner);
        line[x] = left = (from[x] + (a <= b && a <= c ? left : b <= c ? up : corner)) & 255;
        corner = up;
      }
    }
    above = line;
  }
  return data;
}

/** Pixels of each value. */
export function countValues(plane) {
  const counts = new Uint32Array(256);
  for (const value of plane.data) ++counts[value];
  return counts;
}

/** Right and unlabelled pixels are kRight and kUnlabelled; a wrong one is its class in truth. */
export const kRight = 254;

export function errorsOf(truth, prediction) {
  const data = new Uint8Array(truth.data.length);
  const same = truth.width === prediction.width && truth.height === prediction.height;
  for (let y = 0, p = 0; y < truth.height; ++y) {
    const row = Math.floor((y * prediction.height) / truth.height) * prediction.width;
    for (let x = 0; x < truth.width; ++x, ++p) {
      const guess = prediction.data[same ? p : row + Math.floor((x * prediction.width) / truth.width)];
      const label = truth.data[p];
      data[p] = label === guess || label === kUnlabelled ? (label === kUnlabelled ? kUnlabelled : kRight) : label;
    }
  }
  return {width: truth.width, height: truth.height, data};
}

/** Intersection over union of each class; null where it is nowhere. Unlabelled pixels do not count. */
export function classIous(truth, prediction, classes) {
  const both = new Float64Array(classes), either = new Float64Array(classes);
  const n = Math.min(truth.data.length, prediction.data.length);
  for (let p = 0; p < n; ++p) {
    const label = truth.data[p], guess = prediction.data[p];
    if (label >= classes || guess >= classes) continue;
    ++either[label];
    if (label === guess) ++both[label];
    else ++either[guess];
  }
  return Array.from(both, (count, c) => (either[c] > 0 ? count / either[c] : null));
}

/** The value at a place of the photo, which may have another size; null outside. */
export function valueAt(plane, x, y, photo) {
  if (!plane || x < 0 || y < 0 || x >= photo.width || y >= photo.height) return null;
  return plane.data[Math.floor((y * plane.height) / photo.height) * plane.width +
    Math.floor((x * plane.width) / photo.width)];
}
