// Tables and pictures wider than the screen can be scrolled by keyboard.
document$.subscribe(() =>
  setTimeout(() => {
    for (const box of document.querySelectorAll(
      ".md-typeset__scrollwrap, .md-typeset p:has(> img), .md-typeset .formula",
    )) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0
    }
  }, 100),
)
