//! Small plots: numbers become places in a picture, and templates draw it as SVG.

/// A bar of a plot that is 100 wide.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    pub(super) x: String,
    pub(super) y: String,
    pub(super) width: String,
    pub(super) height: String,
    /// What is said where somebody points at it.
    pub(super) title: String,
    /// How it is drawn.
    pub(super) class: &'static str,
}

/// A line through measured points, in a picture that is 100 wide and [`HEIGHT`] high.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    /// The path of the line; where nothing was measured it has a gap.
    pub(super) line: String,
    /// The largest value.
    pub(super) top: i64,
}

/// How high a plot is, beside a width of 100.
pub(super) const HEIGHT: f64 = 28.0;

/// With one decimal: more makes the page larger and the picture no better.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Bars beside each other, the largest of which is as high as the plot. A value of 0 is drawn as a thin line, so that one sees its place.
pub(super) fn bars(values: &[(f64, String, &'static str)]) -> Vec<Bar> {
    let top = values.iter().map(|(value, ..)| *value).fold(0.0_f64, f64::max);
    let step = 100.0 / values.len().max(1) as f64;
    let bar = |(at, (value, title, class)): (usize, &(f64, String, &'static str))| {
        let height = if top > 0.0 { (value / top * HEIGHT).max(0.8) } else { 0.8 };
        Bar {
            x: short(at as f64 * step + step * 0.12),
            y: short(HEIGHT - height),
            width: short(step * 0.76),
            height: short(height),
            title: title.clone(),
            class: if *value > 0.0 { class } else { "none" },
        }
    };
    values.iter().enumerate().map(bar).collect()
}

/// A line through `points`, evenly spaced.
pub(super) fn curve(points: &[Option<i64>]) -> Option<Curve> {
    let top = points.iter().flatten().copied().max()?;
    let step = 100.0 / points.len().saturating_sub(1).max(1) as f64;
    let mut line = String::new();
    let mut is_drawing = false;
    for (at, value) in points.iter().enumerate() {
        let Some(value) = value else {
            is_drawing = false;
            continue;
        };
        let y = HEIGHT - *value as f64 / top.max(1) as f64 * HEIGHT;
        line.push(if is_drawing { 'L' } else { 'M' });
        line.push_str(&[short(at as f64 * step), short(y)].join(" "));
        is_drawing = true;
    }
    Some(Curve { line, top })
}

#[cfg(test)]
mod tests {
    use super::bars;
    use super::curve;

    #[test]
    fn the_largest_bar_is_as_high_as_the_plot_and_none_is_nothing() {
        let drawn = bars(&[(2.0, "two".into(), ""), (0.0, "none".into(), ""), (4.0, "four".into(), "bad")]);
        let heights: Vec<&str> = drawn.iter().map(|bar| bar.height.as_str()).collect();
        assert_eq!(heights, ["14", "0.8", "28"]);
        assert_eq!((drawn[1].class, drawn[2].class, drawn[2].y.as_str()), ("none", "bad", "0"));
        assert!(bars(&[]).is_empty());
    }

    #[test]
    fn a_curve_has_gaps_where_nothing_was_measured() {
        let drawn = curve(&[Some(10), None, Some(20), Some(0)]).map(|curve| (curve.line, curve.top));
        assert_eq!(drawn, Some(("M0 18M66.7 0L100 28".replace("18M", "14M"), 20)));
        assert_eq!(curve(&[None, None]), None);
    }
}
