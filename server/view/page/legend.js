// The classes that are in the picture: colors, shares, scores; what is shown, alone, or lit.

import {el, percent} from './dom.js';
import {hex} from './painting.js';

export class Legend {
  /** `events`: change() when the sets change, light(class or null) when an entry is pointed at. */
  constructor(events) {
    this.hidden = new Set();
    this.events = events;
    this.rows = new Map();
    this.body = el('tbody');
    this.all = el('button', {type: 'button', class: 'link', textContent: 'Show all', hidden: true,
      on: {click: () => this.show([])}});
    this.heads = {data: el('th', {scope: 'col', textContent: 'all', title: 'IoU over the scored photos of the data set'})};
    this.element = el('section', {class: 'legend', 'aria-label': 'Classes'},
      el('h2', {}, 'Classes ', this.all),
      el('table', {}, el('thead', {}, el('tr', {}, el('th', {scope: 'col', textContent: 'class'}),
        el('th', {scope: 'col', textContent: 'share', title: 'Of the pixels that the model says are this'}),
        el('th', {scope: 'col', textContent: 'IoU', title: 'Of this photo'}), this.heads.data)), this.body));
  }

  /** `present`: [{id, name, color, share, iou, mean}] */
  set(present) {
    this.rows.clear();
    this.body.replaceChildren(...present.map((c) => {
      const toggle = el('button', {type: 'button', class: 'toggle', title: 'Show or hide; with Shift alone',
        'aria-pressed': String(!this.hidden.has(c.id)),
        on: {click: (event) => (event.shiftKey ? this.alone(c.id) : this.toggle(c.id)),
          focus: () => this.events.light(c.id), blur: () => this.events.light(null)}},
      el('span', {class: 'chip'}), el('span', {class: 'name', textContent: c.name}));
      toggle.firstChild.style.background = hex(c.color);
      const only = el('button', {type: 'button', class: 'only', textContent: 'only',
        'aria-label': `Show ${c.name} alone`, on: {click: () => this.alone(c.id)}});
      const row = el('tr', {on: {pointerenter: () => this.events.light(c.id), pointerleave: () => this.events.light(null)}},
        el('td', {}, el('div', {class: 'entry'}, toggle, only)), el('td', {textContent: percent(c.share)}),
        el('td', {textContent: percent(c.iou, 0)}), el('td', {textContent: percent(c.mean, 0)}));
      row.classList.toggle('off', this.hidden.has(c.id));
      this.rows.set(c.id, {row, toggle});
      return row;
    }));
    this.all.hidden = this.hidden.size === 0;
  }

  toggle(id) {
    if (!this.hidden.delete(id)) this.hidden.add(id);
    this.update();
  }
  /** The n-th entry, from 0. */
  toggleNth(n) {
    const id = [...this.rows.keys()][n];
    if (id !== undefined) this.toggle(id);
  }
  alone(id) {
    const others = [...this.rows.keys()].filter((other) => other !== id);
    const already = others.length > 0 && others.every((other) => this.hidden.has(other)) && !this.hidden.has(id);
    this.show(already ? [] : others);
  }
  /** Hides these and no others. */
  show(hidden) {
    this.hidden.clear();
    for (const id of hidden) this.hidden.add(id);
    this.update();
  }
  update() {
    for (const [id, {row, toggle}] of this.rows) {
      row.classList.toggle('off', this.hidden.has(id));
      toggle.setAttribute('aria-pressed', String(!this.hidden.has(id)));
    }
    this.all.hidden = this.hidden.size === 0;
    this.events.change();
  }
  /** Marks the entry of what is under the pointer. */
  mark(id) {
    for (const [other, {row}] of this.rows) row.classList.toggle('lit', other === id);
  }
}
