// Any two cells of the report, compared by what they get wrong.

(() => {
  const source = document.getElementById("embedded");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const FIRST = 48; // images that are shown at once
  const selects = [document.getElementById("cell-a"), document.getElementById("cell-b")];
  const result = document.getElementById("result");
  const verdict = document.getElementById("verdict");
  const galleries = document.getElementById("galleries");
  const entries = [...document.querySelectorAll("button.entry")];
  let next = 0; // which of the two a click on the table chooses

  for (const set of data.sets) {
    set.images_wrong = wholeNumbers(set.wrong);
    set.classes = wholeNumbers(set.truth);
    set.place = new Map(set.images_wrong.map((image, place) => [image, place]));
  }

  // What a cell takes the images for that it gets wrong.
  const mistakes = (index) => {
    const cell = data.cells[index];
    if (!cell.mistakes) {
      const numbers = wholeNumbers(cell.wrong);
      const images = data.sets[cell.set].images_wrong;
      cell.mistakes = new Map();
      let place = 0;
      for (let i = 0; i < numbers.length; i += 2) {
        place += numbers[i];
        cell.mistakes.set(images[place], numbers[i + 1]);
      }
    }
    return cell.mistakes;
  };

  const make = (name, text, kind) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (kind) element.className = kind;
    return element;
  };
  const grouped = (number) => number.toLocaleString("en-US");
  const points = (share) => {
    const text = (100 * share).toFixed(2);
    return (Number(text) === 0 ? "0.00" : share > 0 ? `+${text}` : text).replace("-", "−");
  };
  const chance = (p) => {
    if (p === 0) return "below 1e-300";
    return p < 0.001 ? p.toExponential(1) : p.toPrecision(2);
  };
  const className = (set, number) => (set.class_names ? set.class_names[number] : String(number));

  // Options of a select: all cells, or those of one test set.
  const fill = (select, onlySet) => {
    const chosen = select.value;
    select.replaceChildren();
    data.sets.forEach((set, index) => {
      if (onlySet !== undefined && index !== onlySet) return;
      const group = make("optgroup");
      group.label = set.title;
      data.cells.forEach((cell, number) => {
        if (cell.set !== index) return;
        const option = make("option", cell.label);
        option.value = String(number);
        group.append(option);
      });
      select.append(group);
    });
    if ([...select.options].some((option) => option.value === chosen)) select.value = chosen;
  };

  const tile = (set, image, caption, words) => {
    const figure = make("figure", undefined, "tile");
    const place = set.place.get(image);
    if (place < set.pictures) {
      const picture = make("span", undefined, "picture");
      const sheet = Math.floor(place / data.sheet);
      const within = place % data.sheet;
      const inSheet = Math.min(data.sheet, set.pictures - sheet * data.sheet);
      const across = Math.min(data.across, inSheet);
      const scale = 56 / set.side;
      picture.setAttribute("role", "img");
      picture.setAttribute("aria-label", words);
      picture.style.backgroundImage = `url("${set.sheets[sheet]}")`;
      picture.style.backgroundSize = `${across * set.side * scale}px auto`;
      picture.style.backgroundPosition =
        `-${(within % data.across) * set.side * scale}px ` +
        `-${Math.floor(within / data.across) * set.side * scale}px`;
      figure.append(picture);
    }
    figure.title = words;
    figure.append(make("figcaption", caption));
    return figure;
  };

  const gallery = (title, set, images, guesses) => {
    const part = make("div");
    part.append(make("h3", `${title}: ${grouped(images.length)}`));
    const tiles = make("div", undefined, "tiles");
    const draw = (from, to) => {
      for (const image of images.slice(from, to)) {
        const truth = className(set, set.classes[set.place.get(image)]);
        const taken = [...new Set(guesses.map((guess) => guess.get(image)))]
          .map((number) => className(set, number));
        const caption = set.pictures ? `${truth} → ${taken.join(", ")}`
          : `#${image}: ${truth} → ${taken.join(", ")}`;
        tiles.append(tile(set, image, caption, `image ${image}: ${truth}, taken for ${taken.join(" and ")}`));
      }
    };
    draw(0, FIRST);
    part.append(tiles);
    if (images.length > FIRST) {
      const more = make("button", `Show the other ${grouped(images.length - FIRST)}`, "more");
      more.type = "button";
      more.addEventListener("click", () => {
        draw(FIRST, images.length);
        more.remove();
      });
      part.append(more);
    }
    const without = images.filter((image) => set.place.get(image) >= set.pictures).length;
    if (set.pictures && without) {
      part.append(make("p", `${grouped(without)} of them are without a picture here.`, "note"));
    }
    return part;
  };

  const bar = (parts, total) => {
    const whole = make("div", undefined, "bar");
    whole.setAttribute("aria-hidden", "true");
    for (const [kind, count] of parts) {
      if (!count) continue;
      const part = make("span", grouped(count), kind);
      part.style.flexGrow = String(count / total);
      whole.append(part);
    }
    return whole;
  };

  const show = () => {
    const [a, b] = selects.map((select) => Number(select.value));
    for (const entry of entries) {
      const cells = entry.dataset.cells.split(" ").map(Number);
      const marks = [[a, "A"], [b, "B"]].filter(([cell]) => cells.includes(cell)).map(([, m]) => m);
      entry.dataset.chosen = marks.join("");
      entry.setAttribute("aria-pressed", String(marks.length > 0));
    }
    const set = data.sets[data.cells[a].set];
    const [wrongA, wrongB] = [mistakes(a), mistakes(b)];
    const found = compareNetworks(wrongA, wrongB, set.images, set.repeats, data.critical);
    const [b_, c_] = [found.onlyA.length, found.onlyB.length];
    const right = set.images - b_ - c_ - found.both.length;
    const head = make("p", undefined, "difference");
    head.append(
      make("strong", `B − A: ${points(found.difference)} points of error`),
      ` [${points(found.low)}, ${points(found.high)}], p = ${chance(found.p)}`,
    );
    for (const name of ["difference", "low", "high", "p"]) result.dataset[name] = found[name];
    result.dataset.onlyA = b_;
    result.dataset.onlyB = c_;
    verdict.replaceChildren(head);
    const error = (wrong) => `${(100 * wrong.size / set.images).toFixed(2)} %`;
    verdict.append(make("p",
      `A (${data.cells[a].label}) is wrong on ${error(wrongA)}, B (${data.cells[b].label}) on ` +
      `${error(wrongB)} of ${grouped(set.images)} test images. ` +
      `Only A gets ${grouped(b_)}, only B gets ${grouped(c_)}; both get ${grouped(right)}, ` +
      `neither gets ${grouped(found.both.length)}.`));
    const wrong = b_ + c_ + found.both.length;
    if (wrong) {
      verdict.append(bar([["only-a", b_], ["both", found.both.length], ["only-b", c_]], wrong));
      const key = make("p", undefined, "key");
      for (const [kind, text] of [["only-a", "only A gets"], ["both", "neither gets"], ["only-b", "only B gets"]]) {
        const item = make("span");
        item.append(make("i", undefined, kind), text);
        key.append(item);
      }
      verdict.append(key);
    }
    const test = set.repeats === 1 ? "Exact McNemar test" : "Exact sign-flip test by base image";
    verdict.append(make("p",
      `${test} and ${data.level} interval of this pair alone, about these two trained networks; ` +
      "it says nothing about the methods.", "note"));
    galleries.replaceChildren(
      gallery("Only A gets", set, found.onlyA, [wrongB]),
      gallery("Only B gets", set, found.onlyB, [wrongA]),
      gallery("Neither gets", set, found.both, [wrongA, wrongB]),
    );
  };

  // Chooses a cell as A (0) or B (1); the other one becomes one of the same test set.
  const choose = (which, cell) => {
    selects[which].value = String(cell);
    const set = data.cells[Number(selects[0].value)].set;
    if (which === 0) {
      fill(selects[1], set);
      if (data.cells[Number(selects[1].value)].set !== set) {
        selects[1].value = String(data.cells.findIndex((one) => one.set === set));
      }
    }
    show();
  };

  entries.forEach((entry) => entry.addEventListener("click", () => {
    const cells = entry.dataset.cells.split(" ").map(Number);
    const a = data.cells[Number(selects[0].value)];
    let cell = cells[0];
    if (next === 1 && data.cells[cell].set === a.set) {
      cell = cells.find((one) => data.cells[one].seed === a.seed) ?? cell;
      choose(1, cell);
      next = 0;
      document.getElementById("explore").scrollIntoView({ block: "start" });
    } else {
      choose(0, cell);
      next = 1;
    }
  }));
  selects.forEach((select, which) => {
    select.addEventListener("change", () => choose(which, Number(select.value)));
  });
  fill(selects[0]);
  fill(selects[1]);
  selects[1].value = String(data.start[1]);
  choose(0, data.start[0]);
  selects[1].value = String(data.start[1]);
  show();
  document.getElementById("explore").hidden = false;
})();

// What is folded is printed too.
addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details")) one.open = true;
});
