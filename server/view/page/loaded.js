// A photo with everything that is known of it: what comes late or not at all is null until then.

import {askPatiently, readSegmentation} from './api.js';
import {decodePlane, errorsOf} from './planes.js';

const query = (model) => `model=${encodeURIComponent(model)}`;

/** A photo of the gallery. Sources give bytes; `segment` a mask with its confidence. */
export function gallerySource({id, labelled}) {
  const path = `v1/images/${encodeURIComponent(id)}`;
  const bytes = async (address, signal) => new Uint8Array(await (await askPatiently(address, {signal})).arrayBuffer());
  return {
    name: id,
    labelled,
    photo: async (signal) => (await askPatiently(path, {signal})).blob(),
    truth: (model, signal) => (labelled ? bytes(`${path}/mask?${query(model)}`, signal) : null),
    segment: async (model, signal) =>
      readSegmentation(await askPatiently(`${path}/prediction?confidence=1&${query(model)}`, {signal})),
  };
}

/** A photo of one's own. */
export function ownSource(name, blob) {
  return {
    name,
    labelled: false,
    photo: async () => blob,
    truth: () => null,
    segment: async (model, signal) => readSegmentation(await askPatiently(
      `v1/segment/${encodeURIComponent(model)}?confidence=1`,
      {method: 'POST', body: blob, type: blob.type || 'application/octet-stream', signal})),
  };
}

export class Loaded {
  photo = null;
  truth = null;
  prediction = null;
  confidence = null;
  errors = null;
  other = null;
  differences = null;
  mask = null;      // the prediction as it came, a PNG
  timing = null;
  batch = 1;
  failures = {};    // by part: photo, truth, prediction, other

  constructor(source) {
    this.source = source;
  }

  /** Loads what is missing for these models; `changed` is told of each part that comes. */
  async load(model, other, changed, signal) {
    this.failures = {};
    const part = async (name, work) => {
      try {
        await work();
      } catch (error) {
        if (error.kind === 'aborted') return;
        this.failures[name] = error.message;
      }
      if (!signal.aborted) changed(name);
    };
    const {source} = this;
    await Promise.all([
      this.photo ? null : part('photo', async () => {
        const bitmap = await createImageBitmap(await source.photo(signal)).catch((error) => {
          if (error.kind) throw error;
          throw new Error('the browser cannot read this photo');
        });
        this.photo = {bitmap, width: bitmap.width, height: bitmap.height};
      }),
      source.labelled ? part('truth', async () => {
        this.truth = await decodePlane(await source.truth(model, signal));
      }) : null,
      part('prediction', async () => {
        const found = await source.segment(model, signal);
        this.mask = found.mask;
        this.prediction = await decodePlane(found.mask);
        this.confidence = found.confidence ? await decodePlane(found.confidence) : null;
        this.timing = found.timing;
        this.batch = found.batch;
      }),
      other ? part('other', async () => {
        this.other = await decodePlane((await source.segment(other, signal)).mask);
      }) : null,
    ].filter(Boolean));
    if (signal.aborted) return;
    if (this.truth && this.prediction) this.errors = errorsOf(this.truth, this.prediction);
    if (this.other && this.prediction) this.differences = errorsOf(this.other, this.prediction);
    changed('all');
  }
}
