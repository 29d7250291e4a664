//! Charts as inline SVG, each with the table it was drawn from: [`Chart`]. A series differs from another in colour,
//! mark and dash, so that a print or a reader without colours loses nothing. Must not know what is drawn.
//!
//! 内联 SVG 图表，附对应数据表。

use maud::{Markup, html};

use super::words::Words;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 120.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 40.0;
/// Lines of the grid above the axis, at most.
const LINES: f64 = 5.0;
/// Names beside the last points keep this distance.
const LABEL: f64 = 14.0;

/// Values over categories, from 0 upwards.
pub(super) struct Chart {
    /// Unique on the page.
    pub(super) id: String,
    /// What is drawn.
    pub(super) title: Words,
    /// Of the values: `s` is shown in milliseconds where all values are below one.
    pub(super) unit: &'static str,
    /// What stands below the axis.
    pub(super) across: Words,
    /// The categories, in order.
    pub(super) categories: Vec<String>,
    /// At most six can be told apart.
    pub(super) series: Vec<Series>,
}

/// One line of a chart.
pub(super) struct Series {
    /// As the legend says.
    pub(super) name: String,
    /// One for each category; nothing where there is no value, and then the line has a gap.
    pub(super) values: Vec<Option<f64>>,
}

impl Chart {
    /// The chart and its table; nothing where no series has a value.
    pub(super) fn figure(&self) -> Option<Markup> {
        let most = self.series.iter().flat_map(|one| &one.values).flatten().copied().reduce(f64::max)?;
        let scale = Scale::of(most, self.unit);
        Some(html! {
            figure {
                figcaption { (self.title) ", " (scale.unit) }
                (self.drawing(&scale))
                (self.table(&scale))
            }
        })
    }

    fn drawing(&self, scale: &Scale) -> Markup {
        let id = &self.id;
        html! {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-labelledby={ (id) "-title" } {
                title id={ (id) "-title" } { (self.title.0) ", " (scale.unit) ": " (self.names()) }
                @for line in scale.lines() {
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(scale.y(line))) y2=(px(scale.y(line))) {}
                    text.tick x=(LEFT - 8.0) y=(px(scale.y(line) + 4.0)) text-anchor="end" { (number(line)) }
                }
                @for (at, category) in self.categories.iter().enumerate() {
                    text.tick x=(px(self.x(at))) y=(HEIGHT - BOTTOM + 18.0) text-anchor="middle" { (category) }
                }
                @for (lang, across) in [("en", self.across.0), ("zh", self.across.1)] {
                    text.axis lang=(lang) x=(px((LEFT + WIDTH - RIGHT) / 2.0)) y=(HEIGHT - 4.0) text-anchor="middle" { (across) }
                }
                @for (at, series) in self.series.iter().enumerate() { (self.line(at, series, scale)) }
                @for (at, y, name) in self.names_beside(scale) {
                    text class={ "name s" (at) } x=(WIDTH - RIGHT + 10.0) y=(px(y + 4.0)) { (name) }
                }
            }
        }
    }

    fn line(&self, at: usize, series: &Series, scale: &Scale) -> Markup {
        let points: Vec<Option<(f64, f64)>> = series
            .values
            .iter()
            .enumerate()
            .map(|(index, value)| value.map(|value| (self.x(index), scale.y(value * scale.factor))))
            .collect();
        let path = points.iter().fold((String::new(), true), |(mut path, apart), point| match point {
            Some((x, y)) => {
                path += &format!("{}{} {} ", if apart { 'M' } else { 'L' }, px(*x), px(*y));
                (path, false)
            }
            None => (path, true),
        });
        html! {
            g class={ "series s" (at) } {
                path d=(path.0.trim_end()) {}
                @for (x, y) in points.into_iter().flatten() { (mark(at, x, y)) }
            }
        }
    }

    /// The name of each series at its last point, moved apart where they would lie on each other.
    fn names_beside(&self, scale: &Scale) -> Vec<(usize, f64, &str)> {
        let mut names: Vec<(usize, f64, &str)> = self
            .series
            .iter()
            .enumerate()
            .filter_map(|(at, one)| {
                let last = one.values.iter().rev().flatten().next()?;
                Some((at, scale.y(last * scale.factor), one.name.as_str()))
            })
            .collect();
        names.sort_by(|one, other| one.1.total_cmp(&other.1));
        let mut free = TOP;
        for (_, y, _) in &mut names {
            *y = y.max(free);
            free = *y + LABEL;
        }
        names
    }

    fn x(&self, at: usize) -> f64 {
        let room = WIDTH - LEFT - RIGHT;
        LEFT + room * (at as f64 + 0.5) / self.categories.len().max(1) as f64
    }

    fn names(&self) -> String {
        self.series.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn table(&self, scale: &Scale) -> Markup {
        html! {
            table.figures {
                thead { tr {
                    th scope="col" { (self.across) }
                    @for series in &self.series { th.number scope="col" { (series.name) } }
                } }
                tbody {
                    @for (at, category) in self.categories.iter().enumerate() {
                        tr {
                            th scope="row" { (category) }
                            @for series in &self.series {
                                td.number { (value(series.values.get(at).copied().flatten(), scale.factor)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A mark that tells a series without its colour.
fn mark(at: usize, x: f64, y: f64) -> Markup {
    html! {
        @match at % 3 {
            0 => circle cx=(px(x)) cy=(px(y)) r="3.5" {},
            1 => rect x=(px(x - 3.5)) y=(px(y - 3.5)) width="7" height="7" {},
            _ => path.mark d=(format!("M{} {}l4 7h-8z", px(x), px(y - 4.5))) {},
        }
    }
}

/// How values become heights.
struct Scale {
    top: f64,
    step: f64,
    /// Of the values as they are shown.
    unit: &'static str,
    /// From values as they are kept to values as they are shown.
    factor: f64,
}

impl Scale {
    fn of(most: f64, unit: &'static str) -> Self {
        let (unit, factor) = if unit == "s" && most < 1.0 { ("ms", 1e3) } else { (unit, 1.0) };
        let step = round_step(most * factor / LINES);
        Self { top: (most * factor / step).ceil().max(1.0) * step, step, unit, factor }
    }

    /// Where a shown value lies.
    fn y(&self, shown: f64) -> f64 {
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - shown / self.top)
    }

    fn lines(&self) -> impl Iterator<Item = f64> + '_ {
        let count = (self.top / self.step).round() as u32;
        (0..=count).map(|at| f64::from(at) * self.step)
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is no smaller than `raw`; 1 where there is nothing to scale.
fn round_step(raw: f64) -> f64 {
    if !(raw.is_finite() && raw > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|one| one * power).find(|step| *step >= raw * 0.999).unwrap_or(raw)
}

/// A value as the tables show it, a dash where there is none.
pub(super) fn value(value: Option<f64>, factor: f64) -> Markup {
    html! { @match value { Some(value) => (number(value * factor)), None => span title="null" { "–" } } }
}

/// Four digits that count.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => return "0".to_owned(),
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        size if size >= 1.0 => 3,
        size => (3 - size.log10().floor() as i32).clamp(3, 9) as usize,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A tenth of a pixel is enough.
pub(super) fn px(at: f64) -> String {
    format!("{at:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: Vec<Option<f64>>) -> Chart {
        Chart {
            id: "c".to_owned(),
            title: Words("TTFT", "首 token 时延"),
            unit: "s",
            across: Words("concurrency", "并发"),
            categories: (0..values.len()).map(|at| at.to_string()).collect(),
            series: vec![Series { name: "p50".to_owned(), values }],
        }
    }

    #[test]
    fn the_axis_ends_on_a_round_number_above_the_greatest_value() {
        let scale = Scale::of(0.0123, "s");
        assert_eq!((scale.unit, scale.top, scale.step), ("ms", 15.0, 5.0));
        assert_eq!(Scale::of(1719.0, "tokens/s").top, 2000.0);
        assert_eq!(Scale::of(0.0, "s").top, 1.0);
    }

    #[test]
    fn a_missing_value_is_a_gap_in_the_line_and_a_dash_in_the_table() {
        let page = chart(vec![Some(0.1), None, Some(0.3)]).figure().unwrap().into_string();
        let line = page.split("<path d=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert_eq!(line.matches('M').count(), 2, "{line}");
        assert!(page.contains("<span title=\"null\">–</span>"));
        assert!(page.contains(">300<"), "seconds below one are told in milliseconds: {page}");
    }

    #[test]
    fn nothing_to_draw_is_no_chart() {
        assert!(chart(vec![None, None]).figure().is_none());
        assert!(chart(vec![]).figure().is_none());
    }

    #[test]
    fn numbers_keep_four_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1719.122, "1719"),
            (12.345, "12.35"),
            (0.000_468_5, "0.0004685"),
            (0.5, "0.5"),
            (2.0, "2"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
