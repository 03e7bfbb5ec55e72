//! Scenes for tests of the real `intact.sys` in the lab: a volume with files, a policy, the driver loaded, programs.
//!
//! The lab knows nothing of Intact and Intact nothing of the lab; these tests know both. A test arranges a [`Scene`],
//! lets programs act, and looks at three things: what the programs were told, what is committed on the volume, and the
//! driver's own events.
//!
//! ```no_run
//! use intact_saves::{FILE, OLD, Scene};
//!
//! let scene = Scene::new();
//! let writer = scene.program("writer.exe");
//! scene.write_new(&writer);
//! writer.kill(1);
//! scene.assert_committed(FILE, OLD);
//! scene.end();
//! ```

mod crash;
mod drivers;
mod events;
mod failing;
mod policy;
mod scene;

pub use crash::{Cut, cuts};
pub use drivers::{intact, intact_service, test_driver};
pub use events::{Happened, Seen, happened, seen};
pub use failing::failing_calls;
pub use policy::{POLICIES, Policy, Rule};
pub use scene::{FILE, NEW, OLD, Scene, SceneBuilder, VOLUME_FILE};
