// Panes: a photo with a plane in colors over it. All panes of a View zoom and move as one.

import {el, perFrame} from './dom.js';
import {paint} from './painting.js';

const kMostZoom = 64;

/** Where all panes look: `zoom` 1 shows the whole photo; (x, y) is the middle, in parts of it. */
export class View extends EventTarget {
  zoom = 1;
  x = 0.5;
  y = 0.5;

  change(zoom, x, y) {
    this.zoom = Math.min(Math.max(zoom, 1), kMostZoom);
    const edge = 0.5 / this.zoom;
    this.x = Math.min(Math.max(x, edge), 1 - edge);
    this.y = Math.min(Math.max(y, edge), 1 - edge);
    this.dispatchEvent(new Event('change'));
  }
  /** Zooms by a factor so that the place (x, y) stays where it is. */
  zoomAt(factor, x, y) {
    const zoom = Math.min(Math.max(this.zoom * factor, 1), kMostZoom);
    const keep = this.zoom / zoom;
    this.change(zoom, x + (this.x - x) * keep, y + (this.y - y) * keep);
  }
  reset() {
    this.change(1, 0.5, 0.5);
  }
}

export class Pane {
  /** `events`: hover(place or null) with {x, y} in pixels of the photo; `keys` names the pane. */
  constructor(view, title, events) {
    this.view = view;
    this.events = events;
    this.photo = null;   // {bitmap, width, height}
    this.layers = [];    // {plane, table, outline, part}: part: [from, to] of the width, 0 to 1
    this.shown = true;   // the photo
    this.base = el('canvas', {'aria-hidden': 'true'});
    this.top = el('canvas', {'aria-hidden': 'true'});
    this.cursor = el('div', {class: 'cursor', hidden: true});
    this.note = el('p', {class: 'note', hidden: true});
    this.area = el('div', {class: 'area', tabIndex: 0, role: 'application',
      'aria-label': `${title}: plus and minus zoom, arrows move, 0 shows all`}, this.base, this.top, this.cursor, this.note);
    this.title = el('figcaption', {textContent: title});
    this.element = el('figure', {class: 'pane'}, this.area, this.title);
    this.draw = perFrame(() => this.paint());
    this.observer = new ResizeObserver(this.draw);
    this.observer.observe(this.area);
    view.addEventListener('change', this.draw);
    this.listen();
  }

  end() {
    this.observer.disconnect();
    this.view.removeEventListener('change', this.draw);
  }

  set({photo = this.photo, layers = this.layers, shown = this.shown, filter, note = ''}) {
    if (photo !== this.photo && photo) this.area.style.aspectRatio = `${photo.width} / ${photo.height}`;
    this.photo = photo;
    this.layers = layers;
    this.shown = shown;
    this.note.textContent = note;
    this.note.hidden = note === '';
    if (filter !== undefined) this.base.style.filter = filter;
    this.draw();
  }

  /** Pixels of the screen: {width, height, scale, left, top}. */
  geometry() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.area.clientWidth * ratio), height = Math.round(this.area.clientHeight * ratio);
    const fit = Math.min(width / this.photo.width, height / this.photo.height);
    const scale = fit * this.view.zoom;
    return {ratio, width, height, scale, left: width / 2 - this.view.x * this.photo.width * scale,
      top: height / 2 - this.view.y * this.photo.height * scale};
  }

  paint() {
    if (!this.photo || !this.area.isConnected) return;
    const view = this.geometry();
    if (view.width === 0 || view.height === 0) return;
    for (const canvas of [this.base, this.top]) {
      if (canvas.width !== view.width) canvas.width = view.width;
      if (canvas.height !== view.height) canvas.height = view.height;
    }
    const base = this.base.getContext('2d');
    base.clearRect(0, 0, view.width, view.height);
    if (this.shown) {
      base.imageSmoothingEnabled = view.scale < 2;
      base.drawImage(this.photo.bitmap, view.left, view.top, this.photo.width * view.scale, this.photo.height * view.scale);
    }
    const top = this.top.getContext('2d');
    top.clearRect(0, 0, view.width, view.height);
    for (const layer of this.layers) {
      const from = Math.round((layer.part?.[0] ?? 0) * view.width), to = Math.round((layer.part?.[1] ?? 1) * view.width);
      if (to <= from) continue;
      const image = top.createImageData(to - from, view.height);
      paint(image, layer.plane, layer.table, {...view, left: view.left - from}, this.photo,
        layer.outline ? Math.max(1, Math.round(view.ratio)) : 0);
      top.putImageData(image, from, 0);
    }
  }

  /** The place of the photo under a pointer, in its pixels; may lie outside. */
  place(event) {
    const box = this.area.getBoundingClientRect();
    const {ratio, scale, left, top} = this.geometry();
    return {x: ((event.clientX - box.left) * ratio - left) / scale, y: ((event.clientY - box.top) * ratio - top) / scale};
  }

  /** Shows where the pointer is in another pane. */
  point(place) {
    this.cursor.hidden = place === null || !this.photo;
    if (this.cursor.hidden) return;
    const {ratio, scale, left, top} = this.geometry();
    this.cursor.style.left = `${(place.x * scale + left) / ratio}px`;
    this.cursor.style.top = `${(place.y * scale + top) / ratio}px`;
  }

  listen() {
    const pointers = new Map();
    const relative = (place) => [place.x / this.photo.width, place.y / this.photo.height];
    this.area.addEventListener('wheel', (event) => {
      if (!this.photo) return;
      event.preventDefault();
      this.view.zoomAt(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.002)), ...relative(this.place(event)));
    }, {passive: false});
    this.area.addEventListener('pointerdown', (event) => {
      if (!this.photo || event.button > 0 || event.target.closest('.divider')) return;
      this.area.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, this.place(event));
    });
    this.area.addEventListener('pointermove', (event) => {
      if (!this.photo) return;
      const place = this.place(event);
      const held = pointers.get(event.pointerId);
      if (held && pointers.size === 1) {
        this.view.change(this.view.zoom, this.view.x + (held.x - place.x) / this.photo.width,
          this.view.y + (held.y - place.y) / this.photo.height);
      } else if (held && pointers.size === 2) {
        const [other] = [...pointers].find(([id]) => id !== event.pointerId).slice(1);
        const before = Math.hypot(held.x - other.x, held.y - other.y);
        const now = Math.hypot(place.x - other.x, place.y - other.y);
        if (before > 0 && now > 0) this.view.zoomAt(now / before, ...relative(other));
        pointers.set(event.pointerId, this.place(event));
      }
      this.events.hover(place, this);
    });
    const leave = (event) => pointers.delete(event.pointerId);
    this.area.addEventListener('pointerup', leave);
    this.area.addEventListener('pointercancel', leave);
    this.area.addEventListener('pointerleave', () => this.events.hover(null, this));
    this.area.addEventListener('dblclick', (event) => {
      if (!this.photo) return;
      if (this.view.zoom > 1) this.view.reset();
      else this.view.zoomAt(4, ...relative(this.place(event)));
    });
    this.area.addEventListener('keydown', (event) => {
      const step = 0.1 / this.view.zoom;
      const moves = {ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step]};
      const move = moves[event.key];
      if (!move || this.view.zoom === 1 || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      this.view.change(this.view.zoom, this.view.x + move[0], this.view.y + move[1]);
    });
  }
}
