// Hover and the legend's switches. The page is complete without them.
(function () {
  'use strict';
  var data = JSON.parse(document.getElementById('data').textContent);
  ['r', 'w'].forEach(function (kind) {
    var button = document.getElementById('show-' + kind);
    button.addEventListener('click', function () {
      var hidden = document.getElementById('timeline').classList.toggle('hide-' + kind);
      button.setAttribute('aria-pressed', String(!hidden));
    });
  });
  function ms(value) { return value === null || value === undefined ? '–' : value < 10 ? value.toFixed(1) + ' ms' : Math.round(value) + ' ms'; }
  document.querySelectorAll('.timeline').forEach(function (figure, index) {
    var region = data.regions[index], tip = figure.querySelector('.tip');
    var plots = figure.querySelectorAll('.plot'), hairs = figure.querySelectorAll('.hair');
    function hide() { tip.style.display = 'none'; hairs.forEach(function (h) { h.style.display = 'none'; }); }
    plots.forEach(function (plot) {
      plot.addEventListener('pointerleave', hide);
      plot.addEventListener('pointermove', function (event) {
        var box = plot.getBoundingClientRect(), at = (event.clientX - box.left) / box.width;
        var bucket = Math.floor(at * region.reads.length);
        if (bucket < 0 || bucket >= region.reads.length) { hide(); return; }
        hairs.forEach(function (h) { h.style.display = 'block'; h.style.left = (100 * (bucket + 0.5) / region.reads.length) + '%'; });
        var seconds = (bucket + 0.5) * data.bucket_s + data.from_s;
        var lines = [
          (seconds < 0 ? '−' : '+') + Math.abs(seconds).toFixed(1) + ' s',
          'reads ' + Math.round(region.reads[bucket] / data.bucket_s) + '/s, p50 ' + ms(region.read_p50_ms[bucket]) + ', p99 ' + ms(region.read_p99_ms[bucket]),
          'writes ' + Math.round(region.writes[bucket] / data.bucket_s) + '/s, p50 ' + ms(region.write_p50_ms[bucket]) + ', p99 ' + ms(region.write_p99_ms[bucket]),
          'errors ' + region.errors[bucket]
        ];
        tip.textContent = '';
        lines.forEach(function (line) { var div = document.createElement('div'); div.textContent = line; tip.appendChild(div); });
        tip.style.display = 'block';
        var frame = figure.getBoundingClientRect(), x = event.clientX - frame.left;
        var left = x + 14 + tip.offsetWidth > frame.width ? x - 14 - tip.offsetWidth : x + 14;
        tip.style.left = Math.max(0, left) + 'px';
      });
    });
  });
})();
