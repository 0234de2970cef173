// Elements of the page. Text from outside only ever becomes a text node.

/** An element: `properties` are properties of the element, but for `class`, `data` (data-*), `on`
    (listeners) and names with a dash, which are attributes. Children are elements or text. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === 'class') element.className = value;
    else if (name === 'data') Object.assign(element.dataset, value);
    else if (name === 'on') {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name.includes('-') || name === 'role' || name === 'for') element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** "83.1 %"; a dash for what is not known. */
export function percent(value, digits = 1) {
  return value === null || value === undefined || Number.isNaN(value)
    ? '–' : `${(100 * value).toFixed(digits)} %`;
}

export function duration(seconds) {
  if (!(seconds >= 0)) return '–';
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

/** Runs `work` in the next frame, once however often it is asked for until then. */
export function perFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

/** A radio-like row of buttons; `choices` are [value, text]. `pick` is told the value. */
export function choice(label, choices, value, pick) {
  const group = el('div', {class: 'choice', role: 'group', 'aria-label': label});
  for (const [key, text] of choices) {
    group.append(el('button', {type: 'button', textContent: text, data: {value: key},
      'aria-pressed': String(key === value), on: {click: () => {
        for (const other of group.children) {
          other.setAttribute('aria-pressed', String(other.dataset.value === key));
        }
        pick(key);
      }}}));
  }
  return group;
}

/** A slider with its value beside it. */
export function slider(label, {min, max, step, value, show}, change) {
  const output = el('output', {textContent: show(value)});
  const input = el('input', {type: 'range', min, max, step, value, 'aria-label': label, on: {input: () => {
    output.textContent = show(Number(input.value));
    change(Number(input.value));
  }}});
  const set = (next) => {
    input.value = next;
    output.textContent = show(Number(next));
  };
  return {element: el('label', {class: 'slider'}, el('span', {textContent: label}), input, output), set};
}

/** Gives the browser a file to save. */
export function save(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], {type}));
  const link = el('a', {href: url, download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
