//! Configuration as values: config.xml, HAController.
