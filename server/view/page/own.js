// One's own photos: files, the clipboard, a camera, a video. They stay in this page alone, and none
// is lost when the API fails.

import {el, perFrame} from './dom.js';
import {ownSource} from './loaded.js';
import {addressOf} from './preferences.js';

const kMostFrames = 300;
const kMostPhotos = 500;
const kJpegQuality = 0.92;

/** The photos that were brought: [{name, source, thumbnail}]. */
export class OwnPhotos extends EventTarget {
  list = [];

  add(name, blob) {
    if (this.list.length >= kMostPhotos) return null;
    this.list.push({name, source: ownSource(name, blob), thumbnail: URL.createObjectURL(blob)});
    this.dispatchEvent(new Event('change'));
    return this.list.length - 1;
  }
  clear() {
    for (const photo of this.list) URL.revokeObjectURL(photo.thumbnail);
    this.list = [];
    this.dispatchEvent(new Event('change'));
  }
}

/** Takes files that were chosen, dropped or pasted; goes to the first. Returns what was wrong. */
export async function takeFiles(files, own, go) {
  let first = null;
  const wrong = [];
  for (const file of files) {
    if (file.type.startsWith('video/')) {
      const dialog = new VideoDialog(file, own);
      const frames = await dialog.take();
      first ??= frames;
    } else if (/^image\/(png|jpeg|bmp|x-ms-bmp)$/.test(file.type)) {
      const at = own.add(file.name || 'pasted.png', file);
      if (at === null) wrong.push(`${file.name}: more than ${kMostPhotos} photos`);
      first ??= at;
    } else wrong.push(`${file.name || 'what was pasted'} is no PNG, JPEG, BMP or video`);
  }
  if (first !== null) go(addressOf(['own', String(first)]));
  return wrong;
}

async function frameOf(video) {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext('2d').drawImage(video, 0, 0);
  return canvas.convertToBlob({type: 'image/jpeg', quality: kJpegQuality});
}

const once = (target, event) => new Promise((resolve, reject) => {
  target.addEventListener(event, resolve, {once: true});
  target.addEventListener('error', () => reject(new Error('the browser cannot read this video')), {once: true});
});

/** A video file, frame by frame. */
class VideoDialog {
  constructor(file, own) {
    this.file = file;
    this.own = own;
  }

  /** The number of the first frame, or null. */
  async take() {
    const url = URL.createObjectURL(this.file);
    const video = el('video', {src: url, muted: true, preload: 'auto'});
    const rate = el('input', {type: 'number', min: 0.1, max: 30, step: 0.1, value: 2, id: 'rate'});
    const bar = el('progress', {max: 1, value: 0, hidden: true});
    const text = el('p', {role: 'status'});
    const start = el('button', {type: 'button', textContent: 'Take the frames'});
    let stopped = false;
    const dialog = el('dialog', {'aria-label': 'Video'}, el('h2', {textContent: this.file.name}),
      el('label', {class: 'field'}, 'Frames a second ', rate), text, bar,
      el('div', {class: 'row'}, start, el('button', {type: 'button', textContent: 'Close', on: {click: () => dialog.close()}})));
    document.body.append(dialog);
    dialog.showModal();
    let first = null;
    let length = 0;
    const work = async () => {
      start.disabled = true;
      const step = 1 / Math.min(Math.max(Number(rate.value) || 1, 0.1), 30);
      const count = Math.min(kMostFrames, Math.max(1, Math.floor(length / step)));
      bar.hidden = false;
      for (let i = 0; i < count && !stopped; ++i) {
        video.currentTime = i * step;
        await once(video, 'seeked');
        const at = this.own.add(`${this.file.name} ${(i * step).toFixed(2)} s`, await frameOf(video));
        first ??= at;
        bar.value = (i + 1) / count;
        text.textContent = `${i + 1} of ${count} frames`;
      }
      dialog.close();
    };
    const closed = once(dialog, 'close').then(() => { stopped = true; });
    try {
      await once(video, 'loadedmetadata');
      if (!Number.isFinite(video.duration)) {  // recorders that stream do not say: its end does
        video.currentTime = 1e6;
        await once(video, 'seeked');
      }
      length = Number.isFinite(video.duration) ? video.duration : video.currentTime;
      text.textContent = `${video.videoWidth} × ${video.videoHeight}, ${length.toFixed(1)} s; at most ${kMostFrames} frames`;
      start.addEventListener('click', () => work().catch((error) => { text.textContent = error.message; }));
    } catch (error) {
      text.textContent = error.message;
      start.disabled = true;
    }
    await closed;
    dialog.remove();
    URL.revokeObjectURL(url);
    return first;
  }
}

/** The camera: a picture to take, or one after the other as fast as masks come. */
async function useCamera(own, go, say) {
  if (!navigator.mediaDevices?.getUserMedia) {
    return say('Browsers give the camera to pages over https, or on this machine, alone.');
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: 'environment', width: {ideal: 1280}}});
  } catch (error) {
    return say(error.name === 'NotAllowedError' ? 'The browser does not let this page use the camera.' : `There is no camera: ${error.message}`);
  }
  const video = el('video', {autoplay: true, muted: true, playsInline: true, srcObject: stream});
  const dialog = el('dialog', {class: 'camera', 'aria-label': 'Camera'}, el('h2', {textContent: 'Camera'}), video,
    el('div', {class: 'row'}, el('button', {type: 'button', class: 'main', textContent: 'Take a photo', on: {click: async () => {
      const now = new Date();
      const at = own.add(`camera ${now.toTimeString().slice(0, 8)}.jpg`, await frameOf(video));
      dialog.close();
      if (at !== null) go(addressOf(['own', String(at)]));
    }}}), el('button', {type: 'button', textContent: 'Close', on: {click: () => dialog.close()}})));
  document.body.append(dialog);
  dialog.showModal();
  await once(dialog, 'close');
  for (const track of stream.getTracks()) track.stop();
  dialog.remove();
}

/** The page of one's own photos. */
export class OwnPage {
  constructor(app) {
    this.app = app;
    const input = el('input', {type: 'file', multiple: true, accept: 'image/png,image/jpeg,image/bmp,video/*', id: 'files', class: 'hidden-input',
      on: {change: () => app.take([...input.files])}});
    this.grid = el('ul', {class: 'grid'});
    this.clear = el('button', {type: 'button', textContent: 'Forget all', on: {click: () => app.own.clear()}});
    this.element = el('div', {class: 'gallery'},
      el('div', {class: 'tools'}, el('h1', {textContent: 'Own photos'}), input, el('label', {class: 'button main', for: 'files', textContent: 'Choose files'}),
        el('button', {type: 'button', textContent: 'Camera', on: {click: () => useCamera(app.own, app.go, app.say)}}), el('span', {class: 'grow'}), this.clear),
      el('p', {class: 'soft', textContent: 'Drop photos or a short video anywhere on the page, or paste a picture. They go to the model and stay in this page: nothing is kept.'}),
      this.grid);
    this.update = perFrame(() => this.show());
    app.own.addEventListener('change', this.update);
    this.show();
  }
  end() {
    this.app.own.removeEventListener('change', this.update);
  }
  show() {
    const {list} = this.app.own;
    this.clear.hidden = list.length === 0;
    this.grid.replaceChildren(...list.map(({name, thumbnail}, i) => el('li', {}, el('a', {href: addressOf(['own', String(i)])},
      el('img', {src: thumbnail, alt: '', loading: 'lazy', width: 320, height: 180}), el('span', {class: 'name', textContent: name})))));
  }
  key() {
    return false;
  }
}
