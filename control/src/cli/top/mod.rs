//! `trunkctl top`: what the box does now, a look every second.
//!
//! - `look`: asks the daemon, beside the screen, so that keys work while it is silent
//! - `model`: what was seen and what is shown of it
//! - `panels`: the text of each panel
//! - `screen`: where the panels stand

mod look;
mod model;
mod panels;
mod screen;
#[cfg(test)]
mod tests;

use std::io;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event;
use ratatui::crossterm::event::Event;
use ratatui::crossterm::event::KeyCode;
use ratatui::crossterm::event::KeyEvent;
use ratatui::crossterm::event::KeyEventKind;
use ratatui::crossterm::event::KeyModifiers;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::mpsc;

use self::look::Look;
use self::model::Model;
use super::Failure;
use super::client::ClientError;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Columns and lines of `--once` where the output is no terminal, and lines in any case.
const ONCE: (u16, u16) = (100, 60);

/// Shows it until told to quit, or until there is nothing to show it on.
pub(super) async fn run(socket: &Path) -> Result<String, Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "top needs a terminal; `trunkctl top --once` prints one look as text".to_owned(),
        ));
    }
    // Before the terminal is changed: a signal that comes at once has it put back as well.
    let mut ends = ends().map_err(Failure::Terminal)?;
    // Puts the terminal back on a panic as well.
    let mut terminal = ratatui::try_init().map_err(Failure::Terminal)?;
    let shown = show(socket, &mut terminal, &mut ends).await;
    let restored = ratatui::try_restore();
    shown.and(restored).map_err(Failure::Terminal)?;
    Ok(String::new())
}

/// The signals that end it.
fn ends() -> io::Result<[Signal; 3]> {
    Ok([
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
        signal(SignalKind::interrupt())?,
    ])
}

async fn show(
    socket: &Path,
    terminal: &mut DefaultTerminal,
    [terminate, hangup, interrupt]: &mut [Signal; 3],
) -> io::Result<()> {
    let mut keys = keys();
    let mut looks = looks(socket);
    let mut model = Model::default();
    loop {
        terminal.draw(|frame| screen::draw(frame, &model))?;
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            look = looks.recv() => match look {
                Some(Ok(look)) => model.see(*look),
                Some(Err(error)) => model.lose(&error),
                None => return Ok(()),
            },
            event = keys.recv() => match event {
                Some(Event::Key(key)) => {
                    if !press(&mut model, key) {
                        return Ok(());
                    }
                }
                // The next draw takes the new size.
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

/// Does what a key says; false where it says to quit.
fn press(model: &mut Model, key: KeyEvent) -> bool {
    if key.kind == KeyEventKind::Release {
        return true;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('c') if control => return false,
        KeyCode::Char('p' | ' ') => model.is_paused = !model.is_paused,
        KeyCode::Tab | KeyCode::Right => model.turn_page(1),
        KeyCode::BackTab | KeyCode::Left => model.turn_page(-1),
        KeyCode::Down => model.scroll(1),
        KeyCode::Up => model.scroll(-1),
        KeyCode::PageDown => model.scroll(10),
        KeyCode::PageUp => model.scroll(-10),
        KeyCode::Home => model.scroll(i32::MIN),
        _ => {}
    }
    true
}

/// What is typed, from a thread that may wait for it. The thread ends with the process.
fn keys() -> mpsc::Receiver<Event> {
    let (sender, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}

/// A look at the daemon every second.
fn looks(socket: &Path) -> mpsc::Receiver<Result<Box<Look>, ClientError>> {
    let (sender, looks) = mpsc::channel(1);
    let socket = socket.to_owned();
    tokio::spawn(async move {
        let mut second = tokio::time::interval(INTERVAL);
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            second.tick().await;
            let look = Look::take(&socket).await.map(Box::new);
            if sender.send(look).await.is_err() {
                return;
            }
        }
    });
    looks
}

/// One look, with the rates of a second, as text.
pub(super) async fn once(socket: &Path) -> Result<String, Failure> {
    let mut model = Model::default();
    model.see(Look::take(socket).await?);
    tokio::time::sleep(INTERVAL).await;
    model.see(Look::take(socket).await?);
    let width = ratatui::crossterm::terminal::size().map_or(ONCE.0, |(width, _)| width);
    let width = match io::stdout().is_terminal() {
        true => width.max(80),
        false => ONCE.0,
    };
    print(&model, width, ONCE.1).map_err(Failure::Terminal)
}

/// What a screen of this size would show, without what stands empty at its end.
fn print(model: &Model, width: u16, height: u16) -> io::Result<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).map_err(io::Error::other)?;
    terminal
        .draw(|frame| screen::draw_all(frame, model))
        .map_err(io::Error::other)?;
    Ok(text(terminal.backend().buffer()))
}

/// The characters of a screen, line by line.
fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let mut text = String::new();
    for line in buffer.content().chunks(width) {
        let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
        text += line.trim_end();
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}
