//! An object store in a folder, so that what is stored is not in the memory that is measured.

use std::{
    fs,
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use vault::{ObjectInfo, ObjectStore, StoreError};

pub(crate) struct FileStore(PathBuf);

impl FileStore {
    pub(crate) fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        Self(folder.to_owned())
    }

    fn path(&self, key: &str) -> PathBuf {
        self.0.join(key.replace('/', "|"))
    }
}

fn failed(key: &str, error: io::Error) -> StoreError {
    let key = key.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::Missing { key },
        io::ErrorKind::AlreadyExists => StoreError::Exists { key },
        _ => StoreError::Unavailable { key, source: error.into() },
    }
}

#[async_trait]
impl ObjectStore for FileStore {
    async fn put_new(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let mut file = fs::File::create_new(self.path(key)).map_err(|error| failed(key, error))?;
        file.write_all(&bytes).map_err(|error| failed(key, error))
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        fs::read(self.path(key)).map(Bytes::from).map_err(|error| failed(key, error))
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        let read = || {
            let (mut file, mut bytes) = (fs::File::open(self.path(key))?, Vec::new());
            file.seek(io::SeekFrom::Start(offset))?;
            // What lies behind the end is not there, as on S3.
            file.take(length).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|error| failed(key, error))?;
        Ok(bytes.into())
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>, StoreError> {
        let found = fs::read_dir(&self.0).map_err(|error| failed(prefix, error))?;
        let mut objects = Vec::new();
        for entry in found {
            let entry = entry.map_err(|error| failed(prefix, error))?;
            let key = entry.file_name().into_string().unwrap().replace('|', "/");
            if key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after) {
                objects.push(ObjectInfo { key, bytes: entry.metadata().unwrap().len() });
            }
        }
        objects.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(objects)
    }

    async fn lock(&self, key: &str, _: jiff::Timestamp, _: jiff::Timestamp) -> Result<(), StoreError> {
        fs::metadata(self.path(key)).map(|_| ()).map_err(|error| failed(key, error))
    }
}
