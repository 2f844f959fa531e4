"use strict";
{
  const all = JSON.parse(document.getElementById("frame-of-all").textContent);
  const count = all.names.length;
  const groupOf = place => (all.groups.find(([, start, size]) => place >= start && place < start + size) || [""])[0];
  for (const box of document.querySelectorAll(".matrix")) {
    const svg = box.querySelector("figure svg"), pan = box.querySelector(".pan"), read = box.querySelector(".read");
    const mark = box.querySelector(".cell"), data = JSON.parse(box.querySelector("script").textContent);
    const images = new Map();
    for (let i = 0; i < data.cells.length; i += 3) images.set(data.cells[i] * count + data.cells[i + 1], data.cells[i + 2]);
    let row = 0, column = 0;
    const show = (y, x) => {
      row = Math.min(Math.max(y, 0), count - 1);
      column = Math.min(Math.max(x, 0), count - 1);
      mark.setAttribute("x", all.margin + 10 * column);
      mark.setAttribute("y", all.margin + 10 * row);
      mark.style.visibility = "visible";
      const group = groupOf(row) && groupOf(row) !== groupOf(column) ? ` (${groupOf(row)} taken for ${groupOf(column)})` : "";
      const n = images.get(row * count + column) || 0;
      read.textContent = `true ${all.names[row]}, predicted ${all.names[column]}: ${n} of ${data.rows[row]}${group}`;
    };
    read.textContent = "Point at a cell, or go from cell to cell with the arrow keys.";
    svg.addEventListener("pointermove", event => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const y = Math.floor((at.y - all.margin) / 10), x = Math.floor((at.x - all.margin) / 10);
      if (y >= 0 && y < count && x >= 0 && x < count) show(y, x);
    });
    pan.addEventListener("keydown", event => {
      const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key];
      if (!step) return;
      event.preventDefault();
      show(row + step[0], column + step[1]);
      const cell = mark.getBoundingClientRect(), view = pan.getBoundingClientRect();
      if (cell.left < view.left || cell.right > view.right) pan.scrollLeft += cell.left - view.left - view.width / 2;
      if (cell.top < view.top || cell.bottom > view.bottom) pan.scrollTop += cell.top - view.top - view.height / 2;
    });
    const label = document.createElement("label"), zoom = document.createElement("input");
    label.className = "note zoom large";
    Object.assign(zoom, {type: "range", min: 1, max: 8, step: 0.5, value: 1});
    zoom.addEventListener("input", () => {
      const x = (pan.scrollLeft + pan.clientWidth / 2) / pan.scrollWidth, y = (pan.scrollTop + pan.clientHeight / 2) / pan.scrollHeight;
      svg.style.width = `${100 * zoom.value}%`;
      svg.style.maxWidth = "none";
      pan.style.maxHeight = zoom.value > 1 ? "90vh" : "none";
      pan.scrollLeft = x * pan.scrollWidth - pan.clientWidth / 2;
      pan.scrollTop = y * pan.scrollHeight - pan.clientHeight / 2;
    });
    label.append("zoom ", zoom);
    box.querySelector(".zoom").replaceWith(label);
  }
}
