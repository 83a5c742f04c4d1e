//! The page in a real browser: its script runs under its own policy, and answers to pointer and keys.

mod orchard;

use fruitbatch_report::{ReportData, render};
use fruitbatch_testkit::browser::in_browser;
use orchard::{FOUR, LARGE, report_data};
use serde_json::Value;

/// The document as it is once its scripts have run; `None` where there is no browser, which is said.
fn page_in_browser(test: &str, html: &str) -> Option<String> {
    let folder = tempfile::tempdir().expect("a temp dir can be made");
    let page = folder.path().join("report.html");
    std::fs::write(&page, html).expect("it can be written");
    in_browser(test, &format!("file://{}", page.display()), &["--window-size=1280,1000"])
}

/// What `script` puts into `found`, run at the end of a copy of the page that lets it.
fn found(test: &str, data: &ReportData, script: &str) -> Option<Value> {
    let html = render(data).expect("it can be shown").html;
    let (before, policy) = html.split_once("script-src ").expect("there is a policy");
    let (_, after) = policy.split_once(';').expect("of several parts");
    let (head, body) = after.split_once('>').expect("in an element");
    // Before anything that the policy might refuse.
    let watch = "<script>const refused = []; addEventListener('securitypolicyviolation', \
                 event => refused.push(event.violatedDirective + ' ' + event.blockedURI));</script>";
    let copy = format!("{before}script-src 'unsafe-inline';{head}>{watch}{body}");
    let run = format!(
        "<script>{{ const found = {{}}; const key = (place, key) => place.dispatchEvent(new KeyboardEvent('keydown', \
         {{ key, bubbles: true, cancelable: true }})); const move = (place, clientX, clientY) => place.dispatchEvent(\
         new PointerEvent('pointermove', {{ clientX, clientY, bubbles: true }})); {script}; found.refused = refused; \
         document.body.dataset.found = JSON.stringify(found); }}</script></body>"
    );
    let dom = page_in_browser(test, &copy.replace("</body>", &run))?;
    let (_, found) = dom.split_once("data-found=\"").unwrap_or_else(|| panic!("{script} failed"));
    let (found, _) = found.split_once('"').expect("attributes end");
    let json = found
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&nbsp;", "\u{a0}")
        .replace("&amp;", "&");
    Some(serde_json::from_str(&json).expect("is JSON"))
}

#[test]
fn the_page_runs_under_its_own_policy() {
    let html = render(&report_data(FOUR)).unwrap().html;
    let Some(dom) = page_in_browser("the_page_runs_under_its_own_policy", &html) else { return };
    assert_eq!(dom.matches("class=\"ring\"").count(), 2, "the script ran");
    let script = "found.corners = getComputedStyle(document.querySelector('section')).borderRadius; \
                  found.bars = getComputedStyle(document.querySelector('.plot [fill^=\"var(--accent\"]')).fill;";
    let found = found("the_page_runs_under_its_own_policy", &report_data(FOUR), script).unwrap();
    assert_eq!(found["refused"], serde_json::json!([]));
    assert_eq!(found["corners"], "10px", "the style applies");
    assert_eq!(found["bars"], "rgb(31, 95, 168)", "plots follow the page's colours");
}

#[test]
fn pointing_at_a_photo_shows_it_on_both_maps() {
    let mut data = report_data(FOUR);
    let thumbnail = data.thumbnails.values().next().unwrap().clone();
    // On no contact sheet, but with a thumbnail.
    let on_sheets: Vec<String> = data.thumbnails.keys().cloned().collect();
    let points = &data.map.as_ref().unwrap().points;
    let apart = points.iter().position(|point| !on_sheets.contains(&point.path)).unwrap();
    let on_sheet = points.iter().position(|point| on_sheets.contains(&point.path)).unwrap();
    let expected = [apart, on_sheet].map(|at| {
        let point = &points[at];
        (point.path.clone(), data.labels[point.label.unwrap() as usize].label.clone(), point.cluster)
    });
    data.thumbnails.insert(points[apart].path.clone(), thumbnail);
    let script = format!(
        "const photos = JSON.parse(document.getElementById('photos').textContent), maps = [...document.querySelectorAll('.map')]; \
         const svg = maps[0].querySelector('svg'), tip = document.getElementById('tip'); found.before = tip.hidden; \
         found.shown = [{apart}, {on_sheet}].map(at => {{ \
           const box = svg.getBoundingClientRect(), scale = box.width / 1040; \
           move(svg, box.left + photos.x[at] * scale, box.top + photos.y[at] * scale); \
           return {{ hidden: tip.hidden, lines: [...tip.querySelectorAll('b, span')].map(line => line.textContent), \
             image: tip.querySelector('img')?.src.slice(0, 30), \
             rings: maps.map(map => [map.dataset.photo, map.querySelector('.ring').style.display, \
               map.querySelector('.ring').getAttribute('cx') === String(photos.x[at])]) }}; }}); \
         const box = svg.getBoundingClientRect(); move(svg, box.left + 1, box.top + 1); found.away = tip.hidden;"
    );
    let Some(found) = found("pointing_at_a_photo_shows_it_on_both_maps", &data, &script) else { return };
    assert_eq!((&found["before"], &found["away"]), (&true.into(), &true.into()));
    for (shown, (path, label, cluster)) in found["shown"].as_array().unwrap().iter().zip(expected) {
        assert_eq!(shown["hidden"], false);
        assert_eq!(shown["lines"], serde_json::json!([path, label, format!("cluster {cluster}")]));
        assert!(shown["image"].as_str().unwrap().starts_with("data:image/jpeg;base64,/9j"), "{shown}");
        assert_eq!(shown["rings"], serde_json::json!([[path, "", true], [path, "", true]]));
    }
}

#[test]
fn arrow_keys_walk_from_photo_to_photo() {
    let script = "const maps = [...document.querySelectorAll('.map')], tip = document.getElementById('tip'); \
        const ring = maps[1].querySelector('.ring'), place = () => ['cx', 'cy'].map(of => Number(ring.getAttribute(of))); \
        maps[0].focus(); found.focused = document.activeElement === maps[0]; \
        found.walk = ['ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowUp', 'ArrowLeft', 'ArrowDown'].map(arrow => \
          { const prevented = !key(maps[0], arrow); return [arrow, prevented, ...place()]; }); \
        found.photo = maps[0].dataset.photo; found.spoken = document.getElementById('spoken').textContent; \
        let steps = 0, last; do { last = place()[0]; key(maps[0], 'ArrowRight'); steps++; } while (place()[0] > last && steps < 2000); \
        found.end = [last, steps]; found.rightmost = Math.max(...JSON.parse(document.getElementById('photos').textContent).x); \
        found.shown = !tip.hidden; key(maps[0], 'Escape'); found.escaped = tip.hidden && ring.style.display === 'none'; \
        key(maps[0], 'ArrowRight'); maps[0].blur(); found.left = tip.hidden;";
    let Some(found) = found("arrow_keys_walk_from_photo_to_photo", &report_data(FOUR), script) else {
        return;
    };
    assert_eq!(found["focused"], true);
    let walk: Vec<(String, bool, f64, f64)> = serde_json::from_value(found["walk"].clone()).unwrap();
    for (before, (arrow, prevented, x, y)) in walk.iter().zip(&walk[1..]) {
        assert!(prevented, "the page would scroll");
        let moved = match arrow.as_str() {
            "ArrowRight" => *x > before.2,
            "ArrowLeft" => *x < before.2,
            "ArrowUp" => *y < before.3,
            _ => *y > before.3,
        };
        assert!(moved, "{arrow}: {before:?} to {x}, {y}");
    }
    let spoken = found["spoken"].as_str().unwrap();
    assert!(
        spoken.starts_with(found["photo"].as_str().unwrap()) && spoken.contains(", cluster "),
        "{spoken}"
    );
    assert_eq!(found["end"][0], found["rightmost"], "the walk ends at the edge");
    for state in ["shown", "escaped", "left"] {
        assert_eq!(found[state], true, "{state}");
    }
}

#[test]
fn a_name_of_the_legend_shows_its_photos() {
    let script = "const svg = document.querySelector('.map svg'), group = svg.querySelector('.group'); \
        const button = document.querySelectorAll('.legend button')[1], other = document.querySelectorAll('.legend button')[4]; \
        button.click(); found.name = button.textContent.trim(); found.pressed = button.getAttribute('aria-pressed'); \
        found.dimmed = svg.classList.contains('dimmed'); found.photos = group.getAttribute('d').split('M').length - 1; \
        other.click(); found.moved = [button, other].map(one => one.getAttribute('aria-pressed')); \
        other.click(); found.released = !svg.classList.contains('dimmed') && group.style.display === 'none';";
    let Some(found) = found("a_name_of_the_legend_shows_its_photos", &report_data(FOUR), script) else {
        return;
    };
    assert_eq!(found["name"], "Apple Pink Lady");
    assert_eq!((&found["pressed"], &found["dimmed"]), (&"true".into(), &true.into()));
    assert_eq!(found["photos"], 232);
    assert_eq!(found["moved"], serde_json::json!(["false", "true"]));
    assert_eq!(found["released"], true);
}

#[test]
fn cells_of_a_heat_map_say_what_they_count() {
    let data = report_data(FOUR);
    let contingency = data.contingency.as_ref().unwrap();
    // The cell of most photos of the second label lies on the diagonal.
    let largest = contingency.counts[1].iter().max().unwrap();
    let cluster = contingency.counts[1].iter().position(|count| count == largest).unwrap();
    let expected = format!("label Apple Pink Lady, cluster {cluster}, {largest} photos");
    let script = "const place = document.querySelector('#contingency .cells'), svg = place.querySelector('svg'); \
        const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width; \
        const middle = (start, at) => (Number(start) + (at + .5) * Number(place.dataset.side)) * scale; \
        move(svg, box.left + middle(place.dataset.left, 1), box.top + middle(place.dataset.top, 1)); found.pointed = place.dataset.shown; \
        key(place, 'Escape'); found.escaped = place.dataset.shown === undefined; \
        place.focus(); ['ArrowDown', 'ArrowDown', 'ArrowRight', 'ArrowUp', 'ArrowDown'].forEach(arrow => key(place, arrow)); \
        found.walked = place.dataset.shown; found.spoken = document.getElementById('spoken').textContent; \
        for (let step = 0; step < 9; step++) key(place, 'ArrowRight'); found.stays = place.dataset.shown;";
    let Some(found) = found("cells_of_a_heat_map_say_what_they_count", &data, script) else { return };
    assert_eq!(found["pointed"], expected);
    assert_eq!(found["escaped"], true);
    assert_eq!(found["walked"], expected);
    assert_eq!(found["spoken"], expected);
    assert!(found["stays"].as_str().unwrap().starts_with("label Apple Pink Lady, "), "the edge holds");
}

#[test]
fn a_large_report_answers_too() {
    let data = report_data(LARGE);
    let labels = data.labels.len() as i64;
    let script = "const all = selector => [...document.querySelectorAll(selector)]; \
        const photos = JSON.parse(document.getElementById('photos').textContent), svg = document.querySelector('.map svg'); \
        const box = svg.getBoundingClientRect(), scale = box.width / 1040, at = photos.x.length - 1; \
        move(svg, box.left + photos.x[at] * scale, box.top + photos.y[at] * scale); \
        found.near = all('.ring').map(ring => Math.hypot(ring.getAttribute('cx') - photos.x[at], ring.getAttribute('cy') - photos.y[at])); \
        found.legend = all('.legend button').length; const place = document.querySelector('#contingency .cells'); place.focus(); \
        found.corners = ['ArrowLeft', 'ArrowRight'].map(arrow => { \
          for (let step = 0; step < 200; step++) { key(place, arrow); key(place, arrow.replace('Left', 'Up').replace('Right', 'Down')); } \
          return place.dataset.shown; }); \
        found.sheets = all('.sheet').length; found.wide = document.documentElement.scrollWidth - innerWidth;";
    let Some(found) = found("a_large_report_answers_too", &data, script) else { return };
    // Photos may lie on top of each other.
    assert_eq!(found["near"], serde_json::json!([0, 0]));
    assert_eq!(found["legend"], 2 * labels);
    assert_eq!(found["sheets"], labels);
    let corners: Vec<String> = serde_json::from_value(found["corners"].clone()).unwrap();
    let named = |label: usize| format!("label {}, cluster ", data.labels[label].label);
    assert!(corners[0].starts_with(&named(0)) && corners[1].starts_with(&named(130)), "{corners:?}");
    assert!(found["wide"].as_i64().unwrap() <= 0, "the page scrolls sideways");
}

#[test]
fn hostile_paths_stay_text_in_the_browser() {
    const HOSTILE: &str =
        "\"><script>document.title='taken'</script><img src=x onerror=document.title='taken'>.jpg";
    let mut data = report_data(FOUR);
    data.labels[0].label = HOSTILE.to_owned();
    data.failures.first[0].path = HOSTILE.to_owned();
    data.contact_sheets[0].nearest[0].path = HOSTILE.to_owned();
    data.map.as_mut().unwrap().points[0].path = HOSTILE.to_owned();
    let script = "const svg = document.querySelector('.map svg'), box = svg.getBoundingClientRect(), scale = box.width / 1040; \
        const photos = JSON.parse(document.getElementById('photos').textContent); \
        move(svg, box.left + photos.x[0] * scale, box.top + photos.y[0] * scale); \
        found.tip = document.querySelector('#tip b').textContent; found.title = document.title; \
        found.elements = document.querySelectorAll('[onerror], main script:not([type])').length;";
    let Some(found) = found("hostile_paths_stay_text_in_the_browser", &data, script) else { return };
    assert_eq!(found["tip"], HOSTILE);
    assert_eq!(found["title"], "fruits-928 – fruitbatch report");
    assert_eq!(found["elements"], 0);
}

#[test]
fn those_who_do_not_see_find_their_way() {
    let script = "const all = selector => [...document.querySelectorAll(selector)]; \
        found.skip = document.querySelector('a').getAttribute('href'); found.language = document.documentElement.lang; \
        found.unnamed = all('svg.plot').filter(svg => svg.getAttribute('role') !== 'img' || svg.getAttribute('aria-label').length < 20).length; \
        found.plots = all('svg.plot').length; found.headings = all('th:not([scope])').length; \
        found.images = all('img:not([alt])').length; found.broken = all('a[href^=\"#\"]').filter(link => \
          !document.getElementById(link.hash.slice(1))).length; \
        found.ids = new Set(all('[id]').map(one => one.id)).size === all('[id]').length; \
        found.levels = all('h1, h2, h3, h4').map(heading => Number(heading.tagName[1])); \
        found.wide = document.documentElement.scrollWidth - innerWidth;";
    let Some(found) = found("those_who_do_not_see_find_their_way", &report_data(FOUR), script) else {
        return;
    };
    assert_eq!((&found["skip"], &found["language"]), (&"#main".into(), &"en".into()));
    assert_eq!(found["plots"], 15);
    for none in ["unnamed", "headings", "images", "broken"] {
        assert_eq!(found[none], 0, "{none}");
    }
    assert_eq!(found["ids"], true, "an id is there twice");
    let levels: Vec<u8> = serde_json::from_value(found["levels"].clone()).unwrap();
    assert_eq!(levels[0], 1);
    for pair in levels.windows(2) {
        assert!(pair[1] <= pair[0] + 1, "a level is left out: {levels:?}");
    }
    assert!(found["wide"].as_i64().unwrap() <= 0, "the page scrolls sideways");
}
