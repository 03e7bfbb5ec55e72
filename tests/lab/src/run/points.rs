//! When a fault strikes: `5`, `50%`, `1,10,50%` or `*7` (seven points, evenly spread).

use std::str::FromStr;

/// One or more points on a scale that the reference run measures: writes, disk effects, bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Points(Vec<Point>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Point {
    At(u64),
    Percent(u64),
    Spread(u64),
}

impl Points {
    /// The points on a scale from 0 to `total`, in order, each once. What a point says literally is kept
    /// also if it lies beyond the end: the fault then never strikes, and the report says so.
    pub fn on(&self, total: u64) -> Vec<u64> {
        let mut points = Vec::new();
        for point in &self.0 {
            match *point {
                Point::At(at) => points.push(at),
                Point::Percent(percent) => points.push(total * percent / 100),
                // Evenly, with neither end: before the first and after the last nothing is half done.
                Point::Spread(count) => {
                    points.extend((1..=count).map(|step| (total * step).div_ceil(count + 1)))
                }
            }
        }
        points.sort_unstable();
        points.dedup();
        points
    }
}

impl FromStr for Points {
    type Err = String;

    fn from_str(text: &str) -> Result<Points, String> {
        let number = |text: &str| {
            text.parse()
                .map_err(|_| format!("\"{text}\" is not a number; give a count, a share like 50%, or *7"))
        };
        let point = |text: &str| match (text.strip_suffix('%'), text.strip_prefix('*')) {
            (Some(percent), _) => number(percent).map(Point::Percent),
            (None, Some(count)) => number(count).map(Point::Spread),
            (None, None) => number(text).map(Point::At),
        };
        text.split(',').map(|part| point(part.trim())).collect::<Result<_, _>>().map(Points)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_follow_the_reference_run() {
        let on = |text: &str, total| text.parse::<Points>().unwrap().on(total);
        assert_eq!(on("5", 10), [5]);
        assert_eq!(on("50%", 27), [13]);
        assert_eq!(on("9,1,50%,1", 10), [1, 5, 9]);
        assert_eq!(on("*3", 100), [25, 50, 75]);
        assert_eq!(on("*5", 2), [1, 2]);
        assert_eq!(on("500", 10), [500]);
    }

    #[test]
    fn what_is_no_point_is_named() {
        assert!("half".parse::<Points>().unwrap_err().contains("\"half\""));
        assert!("".parse::<Points>().is_err());
    }
}
