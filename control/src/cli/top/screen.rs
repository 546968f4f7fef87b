//! Where the panels stand: 80 columns and 24 lines hold them all but the pages, of which one
//! is shown; a taller terminal shows every page.

use ratatui::Frame;
use ratatui::layout::Constraint;
use ratatui::layout::Layout;
use ratatui::layout::Rect;
use ratatui::style::Stylize as _;
use ratatui::text::Line;
use ratatui::widgets::Block;
use ratatui::widgets::Paragraph;

use super::model::Model;
use super::panels;
use super::panels::PAGES;

/// From this height on every page is shown.
const TALL: u16 = 40;

/// Most lines for the workers' bars; the rest is in `trunkctl workers`.
const WORKERS_MAX: usize = 8;

/// Draws the screen.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let all_pages = frame.area().height >= TALL;
    draw_as(frame, model, all_pages);
}

/// Draws all there is, for paper.
pub(super) fn draw_all(frame: &mut Frame<'_>, model: &Model) {
    draw_as(frame, model, true);
}

fn draw_as(frame: &mut Frame<'_>, model: &Model, all_pages: bool) {
    let workers = model
        .look
        .as_ref()
        .map_or(1, |look| look.status.workers.len());
    let bars = u16::try_from(workers.clamp(1, WORKERS_MAX)).unwrap_or(1);
    let [title, notice, figures, busy, rest, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(7),
        Constraint::Length(bars + 2),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(panels::title(model), title);
    frame.render_widget(panels::notice(model), notice);
    frame.render_widget(panels::keys(model), keys);
    let halves = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]);
    let [left, right] = halves.areas(figures);
    panel(frame, left, "Calls".into(), panels::calls(model));
    panel(frame, right, "Packets".into(), panels::traffic(model));
    let bars = panels::workers(model, busy.width.saturating_sub(2));
    panel(frame, busy, "Workers, and how busy".into(), bars);
    // Addresses are wide, reasons are not.
    let [left, right] =
        Layout::horizontal([Constraint::Length(45), Constraint::Min(0)]).areas(rest);
    let [left, right] = match rest.width {
        0..88 => halves.areas(rest),
        _ => [left, right],
    };
    let drops = match model.scrolled {
        0 => "Dropped or not sent, by reason".to_owned(),
        above => format!("Dropped or not sent ({above} above)"),
    };
    panel(frame, left, drops.into(), panels::drops(model));
    if all_pages {
        every_page(frame, right, model);
    } else {
        one_page(frame, right, model);
    }
}

/// The page that is turned to, and the names of the others.
fn one_page(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let Some(page) = PAGES.get(model.page) else {
        return;
    };
    let mut names = Vec::new();
    for (at, page) in PAGES.iter().enumerate() {
        if at > 0 {
            names.push(" ".into());
        }
        names.push(match at == model.page {
            true => page.title.reversed(),
            false => page.title.dim(),
        });
    }
    let lines = (page.lines)(model, usize::from(area.width.saturating_sub(2)));
    panel(frame, area, Line::from(names), lines);
}

/// Every page below the other, each as tall as its lines.
fn every_page(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let width = usize::from(area.width.saturating_sub(2));
    let pages = PAGES.map(|page| (page.title, (page.lines)(model, width)));
    let heights = pages.iter().map(|(_, lines)| {
        Constraint::Length(
            u16::try_from(lines.len())
                .unwrap_or(u16::MAX)
                .saturating_add(2),
        )
    });
    let areas = Layout::vertical(heights).split(area);
    for ((title, lines), area) in pages.into_iter().zip(areas.iter()) {
        panel(frame, *area, title.into(), lines);
    }
}

fn panel(frame: &mut Frame<'_>, area: Rect, title: Line<'static>, lines: Vec<Line<'static>>) {
    let block = Block::bordered().title(title);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
